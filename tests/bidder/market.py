"""An entity with published runs to deploy: small known tables on a real object store and control plane."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from control_plane.catalog import NOW, open_sample, sample_results, start_sample
from sqlalchemy import Engine

from optimizer.artifacts.manifest import publish
from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.refreshing import Refresher
from optimizer.bidder.requests import PriceRequest
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.registry import register_results
from optimizer.runs.outputs import output_rows

ENTITY = "drugs_hcp"
STATE, OS, DOMAIN = "[ADX_GEO_STATE]", "[ADX_USER_OS]", "[ADX_DOMAIN]"
BIDS = {"Ohio|android": 12.0, "New%20York|ios": 20.0, "Texas|windows": 0.0}
DOMAINS, NPIS = {"a.example": 1.5, "b.example": 0.6}, {"1234567893": 3.0}
FALLBACK_CPM, CAP_CPM = 5.0, 30.0
_numbers = count(1)


@dataclass
class Market:
    """Publishes and deploys runs of drugs_hcp, whose key is state and operating system."""

    engine: Engine
    store: ObjectStore
    base_uri: str
    folder: Path
    uris: dict[str, str] = field(default_factory=dict)

    def publish(
        self,
        *,
        bids: Mapping[str, float] = BIDS,
        domains: Mapping[str, float] | None = None,
        npis: Mapping[str, float] | None = None,
        change: Callable[[dict[str, Path]], Any] = lambda files: None,
        **rule: Any,
    ) -> str:
        """Publish and register a run, and return its run_id.

        Args:
            change: what is done to the files before they are published.
            rule: fields of the manifest's bidding rule in the place of the usual ones.
        """
        number = next(_numbers)
        now = NOW + timedelta(minutes=number)
        run_id = open_sample(self.engine, f"market {number}", now=now).run_id
        start_sample(self.engine, run_id)
        self.uris[run_id] = uri = f"{self.base_uri}{run_id}/"
        columns = {"memcache.csv": ("segment_key", "bid", bids)}
        columns |= {} if domains is None else {"domain_multipliers.csv": ("domain", "multiplier", domains)}
        columns |= {} if npis is None else {"npi_multipliers.csv": ("npi", "multiplier", npis)}
        files = {name: self._write(run_id, name, *column) for name, column in columns.items()}
        change(files)
        manifest = publish(
            self.store,
            output_uri=uri,
            files={name: (path.stem, path, len(columns[name][2])) for name, path in files.items()},
            header=_header(run_id, now, rule),
            still_wanted=lambda: None,
        )
        outputs = output_rows(manifest, output_uri=uri, store=self.store)
        results = sample_results(s3_output_path=uri, outputs=outputs)
        register_results(self.engine, run_id, results=results, now=now)
        return run_id

    def deploy(self, split: Mapping[str, int]) -> None:
        deploy(self.engine, entity_code=ENTITY, split=split, author=Author("test"), now=NOW)

    def execute(self, statement: str) -> None:
        with transaction(self.engine) as connection:
            connection.exec_driver_sql(statement)

    def refresher(self, **fields: Any) -> Refresher:
        return Refresher(**{"engine": self.engine, "store": self.store, **fields})

    def _write(self, run_id: str, name: str, key: str, value: str, rows: Mapping[str, float]) -> Path:
        path = self.folder / run_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([(key, value), *rows.items()])
        return path


def ask(state: str | None = "Ohio", os: str | None = "android", **fields: Any) -> PriceRequest:
    """Return a request for a price."""
    return PriceRequest({STATE: state, OS: os}, **{"user_id": "user-1", **fields})


def _header(run_id: str, now: datetime, rule: Mapping[str, Any]) -> dict[str, Any]:
    bidding = {
        "features": ["geo_region_name", "os_code"],
        "macro_combination": f"{STATE}|{OS}",
        "macro_format": "adx",
        "fallback_bid_cpm": FALLBACK_CPM,
        "max_bid_cpm": CAP_CPM,
    }
    named = {"run_id": run_id, "run_code": run_id, "entity_code": ENTITY, "created_at": now}
    return {**named, "bidding": {**bidding, **rule}}
