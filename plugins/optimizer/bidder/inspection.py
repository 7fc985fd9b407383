"""Price one request as the bidder would, now or at a past time, and keep what the price is made of."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.generation import Generation
from optimizer.bidder.loading import (
    build_generation,
    build_run,
    fingerprint,
    read_files,
    read_run_manifest,
)
from optimizer.bidder.macro_requests import read_price_body
from optimizer.bidder.openrtb import OpenRtb
from optimizer.bidder.openrtb.parsing import parse_leniently
from optimizer.bidder.openrtb.questions import Question
from optimizer.bidder.pricing import Price, price
from optimizer.bidder.reasons import Reason
from optimizer.bidder.tables import InProcessTable
from optimizer.control_plane.serving import ServedEntity, check_served, read_served_at, with_traffic
from optimizer.errors import DeploymentError, RequestError

KEPT_GENERATIONS = 4
"""The number of splits, past and present, whose files are kept in memory."""

ONE_IMPRESSION = "1"
"""The id of the only impression of a request that is given as macros."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """One impression: its price, what was read of it, and the rule of the run that priced it.

    macros: the values of the run's key, by macro; None where the request does not name it.
    traffic_pct, max_bid_cpm, fallback_bid_cpm: of the run; None where no run was asked.
    wanted_bid_cpm: base bid times multipliers, before the cap and the floor.
    """

    impression_id: str
    price: Price
    macros: Mapping[str, str | None]
    traffic_pct: int | None = None
    max_bid_cpm: float | None = None
    fallback_bid_cpm: float | None = None

    @property
    def wanted_bid_cpm(self) -> float | None:
        """Base bid times multipliers, CPM; None where there is no base bid."""
        parts = (self.price.base_bid_cpm, self.price.domain_multiplier, self.price.npi_multiplier)
        if any(part is None for part in parts):
            return None
        base, domain, npi = (part or 0.0 for part in parts)
        return base * domain * npi


class Inspector:
    """Prices single requests from what was deployed at any time; files of runs are read once and kept.

    A run's files never change, so a split of the past is priced with the files that it had.
    """

    def __init__(self, engine: Engine, store: ObjectStore, *, openrtb: OpenRtb) -> None:
        self._engine, self._store, self._openrtb = engine, store, openrtb
        self._lock, self._generations = threading.Lock(), OrderedDict[str, Generation]()

    def inspect(self, body: bytes, *, entity_code: str, at: datetime) -> list[Inspected]:
        """Return a row an impression of an OpenRTB bid request, or of a request as macros (POST /price).

        Args:
            entity_code: the entity that is asked; a request as macros need not name it.
            at: the split that was live at this time prices.

        Raises:
            RequestError: the request cannot be read, or names another entity; says where.
            DeploymentError: nothing was live then, or it cannot be served.
            ArtifactError, UnavailableError: a run's files are damaged or gone, or a system is silent.
        """
        questions = self._read(body, entity_code)
        served = read_served_at(self._engine, entity_code, at=at)
        if not served.runs:
            raise DeploymentError(
                f"entity {entity_code}: nothing was live at {at:%Y-%m-%d %H:%M} UTC; choose another time"
            )
        check_served(served)
        generation = self._generation(served, at=at)
        return [_inspect(question, generation) for question in questions]

    def _read(self, body: bytes, entity_code: str) -> list[Question]:
        raw = parse_leniently(body, [])
        if isinstance(raw, dict) and "macros" in raw:
            asked = read_price_body(json.dumps({"entity_code": entity_code} | raw).encode())
            if asked.entity_code != entity_code:
                raise RequestError(f"entity_code is {asked.entity_code[:100]!r}; this is {entity_code}: ask it there")
            return [Question(ONE_IMPRESSION, asked.request())]
        return self._openrtb.read(body).questions

    def _generation(self, served: ServedEntity, *, at: datetime) -> Generation:
        key = fingerprint(served)
        with self._lock:
            if key not in self._generations:
                self._generations[key] = self._load(served, at=at)
            self._generations.move_to_end(key)
            if len(self._generations) > KEPT_GENERATIONS:
                self._generations.popitem(last=False)
            return self._generations[key]

    def _load(self, entity: ServedEntity, *, at: datetime) -> Generation:
        runs = []
        for run in with_traffic(entity):
            manifest = read_run_manifest(run, entity_code=entity.entity_code, store=self._store)
            files = read_files(run, manifest, store=self._store)
            runs.append(build_run(run, files, bids=InProcessTable(files.bids)))
        return build_generation(entity, runs, now=at)


def _inspect(question: Question, generation: Generation) -> Inspected:
    if isinstance(question.asked, Reason):
        return Inspected(question.impression_id, Price(generation.entity_code, question.asked), {})
    found = price(question.asked, generation=generation)
    run = generation.runs[found.run_id or ""]
    given: Mapping[str, Any] = question.asked.macros
    return Inspected(
        question.impression_id,
        found,
        {macro: given.get(macro) for macro in run.macros},
        traffic_pct=generation.percents[run.run_id],
        max_bid_cpm=run.max_bid_cpm,
        fallback_bid_cpm=run.fallback_bid_cpm,
    )
