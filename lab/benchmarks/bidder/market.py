"""Runs with many keys, published and deployed as the optimizer does it, and requests that ask for their segments."""

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from sqlalchemy import Engine

from lab.stack import LocalStack
from lab.stack.catalogue import BUCKET, MACROS, load_catalogue
from optimizer.artifacts.manifest import Manifest, publish
from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.memcached import Memcached
from optimizer.bidder.refreshing import Refresher
from optimizer.bidder.requests import PriceRequest
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.registry import RunResults, register_results
from optimizer.control_plane.runs import RunOrigin, open_run, start_run
from optimizer.control_plane.schema import migrate
from optimizer.core.serving.keys import segment_key
from optimizer.runs.outputs import output_rows

ENTITY = "drugs_hcp"
FEATURES = ("internal_adspace_id", "geo_region_name", "os_code")
KEY_MACROS = tuple(MACROS[feature] for feature in FEATURES)
DOMAIN_MACRO, DOMAIN = MACROS["domain"], "a.example"
FALLBACK_CPM, CAP_CPM = 5.0, 60.0
START = datetime(2026, 2, 3, 6, tzinfo=UTC)


def make_values(size: int) -> list[tuple[str, ...]]:
    """Return the feature values of that many segments."""
    return [(str(20_000 + number % 400), f"New York {number // 400}", "android") for number in range(size)]


def make_bids(values: Sequence[Sequence[str]], *, seed: int) -> dict[str, float]:
    """Return a bid for every segment, in cents between 1 and 30, by its key."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    return {segment_key(it): round(rng.uniform(1, 30), 2) for it in values}


def make_requests(values: Sequence[Sequence[str]], *, size: int, seed: int) -> list[PriceRequest]:
    """Return requests for known segments, drawn at random, each of a user of its own."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    return [
        PriceRequest({**dict(zip(KEY_MACROS, rng.choice(values), strict=True)), DOMAIN_MACRO: DOMAIN}, user_id=f"u{it}")
        for it in range(size)
    ]


@dataclass
class BenchMarket:
    """A control plane on SQLite with an entity whose runs lie on a real S3 server, made up a minute apart."""

    engine: Engine
    store: ObjectStore
    folder: Path
    _minutes: count = field(default_factory=count)

    @classmethod
    def open(cls, folder: Path, *, stack: LocalStack) -> "BenchMarket":
        """Return a market in which nothing is published; the stack's object store runs."""
        stack.ensure_bucket(BUCKET)
        engine = open_engine(f"sqlite:///{folder}/bidder.db")
        migrate(engine)
        load_catalogue(engine)
        return cls(engine, ObjectStore(stack.connect_objects()), folder)

    def refresher(self, memcached: Memcached | None) -> Refresher:
        return Refresher(engine=self.engine, store=self.store, memcached=memcached, entity_codes=[ENTITY])

    def deploy(self, split: Mapping[str, int]) -> None:
        deploy(self.engine, entity_code=ENTITY, split=split, author=Author("bench"), now=START)

    def publish(self, bids: Mapping[str, float], *, domain_multiplier: float) -> str:
        """Publish and register a validated run of these bids, and return its run_id."""
        now = START + timedelta(minutes=next(self._minutes))
        definition = read_definition(self.engine, ENTITY)
        run = open_run(
            self.engine,
            entity_id=definition.entity.entity_id,
            version_id=definition.entity.current_version_id,
            entity_code=ENTITY,
            origin=RunOrigin("bench", now.isoformat(), "bench", "manual"),
            now=now,
        )
        window = {"data_start_at": now - timedelta(days=1), "data_end_at": now}
        start_run(self.engine, run.run_id, config_snapshot={}, now=now, **window)
        uri = f"s3://{BUCKET}/bench/{ENTITY}/{run.run_id}/"
        bidding = {
            "features": FEATURES,
            "macro_combination": "|".join(KEY_MACROS),
            "macro_format": "adx",
            "fallback_bid_cpm": FALLBACK_CPM,
            "max_bid_cpm": CAP_CPM,
        }
        header = {"run_id": run.run_id, "run_code": run.run_code, "entity_code": ENTITY, "created_at": now}
        files = {
            "memcache.csv": self._write(run.run_id, "segment_key", "bid", bids),
            "domain_multipliers.csv": self._write(run.run_id, "domain", "multiplier", {DOMAIN: domain_multiplier}),
        }
        manifest = publish(
            self.store,
            output_uri=uri,
            files={name: (name.removesuffix(".csv"), path, rows) for name, (path, rows) in files.items()},
            header={**header, "bidding": bidding},
            still_wanted=lambda: None,
        )
        macro_ids = {macro.feature_name: macro.macro_id for macro in definition.feature_macros}
        results = _results(manifest, uri=uri, store=self.store, macro_ids=macro_ids)
        register_results(self.engine, run.run_id, results=results, now=now)
        return run.run_id

    def _write(self, run_id: str, key: str, value: str, rows: Mapping[str, float]) -> tuple[Path, int]:
        path = self.folder / f"{run_id}-{key}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([(key, value), *rows.items()])
        return path, len(rows)


def _results(manifest: Manifest, *, uri: str, store: ObjectStore, macro_ids: Mapping[str, int]) -> RunResults:
    size = manifest.objects[0].row_count
    counts = ("total_bids", "total_views", "total_clicks", "total_segments", "segments_count", "segments_in_memcache")
    features = [
        {"feature_name": name, "feature_order": number, "macro_id": macro_ids[name]}
        for number, name in enumerate(FEATURES, start=1)
    ]
    return RunResults.model_validate(
        {
            **dict.fromkeys(counts, size),
            **{"domains_count": 1, "npis_count": 0, "bid_median": 15.0, "bid_min": 1.0, "bid_max": 30.0},
            "features_used": ",".join(FEATURES),
            "validation_status": "passed",
            "features": features,
            "macro_combination": "|".join(KEY_MACROS),
            "metrics": (),
            "outputs": output_rows(manifest, output_uri=uri, store=store),
            "s3_output_path": uri,
        }
    )
