"""The three event tables in the warehouse's columns and types."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 100_000

BIDS_SCHEMA = pa.schema(
    [
        ("bid_id", pa.string()),
        ("bid_ts", pa.timestamp("us")),
        ("object_id", pa.int64()),
        ("run_id", pa.string()),
        ("internal_adspace_id", pa.string()),
        ("geo_region_name", pa.string()),
        ("os_code", pa.string()),
        ("browser_code", pa.string()),
        ("device_type", pa.string()),
        ("domain", pa.string()),
        ("npi", pa.string()),
        ("bid_cpm", pa.float64()),
        ("base_bid_cpm", pa.float64()),
        ("domain_multiplier", pa.float64()),
        ("npi_multiplier", pa.float64()),
        ("floor_cpm", pa.float64()),
    ]
)
VIEWS_SCHEMA = pa.schema(
    [("bid_id", pa.string()), ("view_ts", pa.timestamp("us")), ("cost_cpm", pa.float64()), ("revenue", pa.float64())]
)
CLICKS_SCHEMA = pa.schema([("bid_id", pa.string()), ("click_ts", pa.timestamp("us")), ("revenue", pa.float64())])


@dataclass(frozen=True, slots=True)
class Events:
    """BIDS, VIEWS and CLICKS of the warehouse contract; times are UTC without a zone, as TIMESTAMP_NTZ holds them."""

    bids: pa.Table
    views: pa.Table
    clicks: pa.Table

    def write_parquet(self, folder: Path) -> dict[str, Path]:
        """Write bids.parquet, views.parquet and clicks.parquet in row groups; return the file of each table."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: folder / f"{name}.parquet" for name in ("bids", "views", "clicks")}
        for name, file in files.items():
            pq.write_table(getattr(self, name), file, row_group_size=ROW_GROUP_ROWS)
        return files


def concat_events(parts: Iterable[Events]) -> Events:
    """Return the events of all parts, in their order."""
    parts = list(parts)
    return Events(*(pa.concat_tables([getattr(part, name) for part in parts]) for name in ("bids", "views", "clicks")))
