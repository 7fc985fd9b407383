"""A run's staging prefix: what one step leaves for the next."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from optimizer.artifacts.store import ObjectStore, StoredObject

TOTALS = "totals.json"
SEGMENT_CELLS = "segment_cells.parquet"
DOMAIN_CELLS = "domain_cells.parquet"
NPI_TOTALS = "npi_totals.parquet"
PLANNED_BIDS = "planned_bids.parquet"
CELLS = "candidate_cells.parquet"
VARIATION = "variation.json"
SELECTION = "selection.json"
TRAINING = "training.json"
TRACKING = "tracking.json"
SEGMENTS = "segments.parquet"
BIDS = "bids.parquet"
DOMAINS = "domain_multipliers.parquet"
NPIS = "npi_multipliers.parquet"
BID_FIGURES = "bids.json"
BACKTEST = "backtest.json"
VALIDATION = "validation.json"


@dataclass(frozen=True, slots=True)
class Staging:
    """Files below one s3:// prefix. Writing replaces, so a repeated step leaves no trace of its first try."""

    store: ObjectStore
    prefix_uri: str

    def put_file(self, name: str, path: Path) -> StoredObject:
        return self.store.put_file(self.prefix_uri + name, path)

    def get_file(self, name: str, path: Path) -> Path:
        return self.store.get_file(self.prefix_uri + name, path)

    def has(self, name: str) -> bool:
        return self.store.exists(self.prefix_uri + name)

    def put_json(self, name: str, content: Any) -> StoredObject:
        return self.store.put_bytes(self.prefix_uri + name, json.dumps(content, allow_nan=False).encode())

    def get_json(self, name: str) -> Any:
        return json.loads(self.store.get_bytes(self.prefix_uri + name))

    def put_frame(self, name: str, frame: pd.DataFrame) -> StoredObject:
        with TemporaryDirectory(prefix="optimizer-") as folder:
            path = Path(folder) / Path(name).name
            frame.to_parquet(path, index=False)
            return self.put_file(name, path)

    def get_frame(self, name: str, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        with TemporaryDirectory(prefix="optimizer-") as folder:
            return pd.read_parquet(self.get_file(name, Path(folder) / Path(name).name), columns=columns)
