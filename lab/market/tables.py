"""The three event tables in the warehouse's columns and types."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
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
        ("privacy", pa.string()),
        ("is_test", pa.bool_()),
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

    def until(self, moment: datetime) -> "Events":
        """Return the events before a moment: what a warehouse holds that was loaded up to then."""
        last = pa.scalar(moment.astimezone(UTC).replace(tzinfo=None), pa.timestamp("us"))
        return Events(
            self.bids.filter(pc.less(self.bids["bid_ts"], last)),
            self.views.filter(pc.less(self.views["view_ts"], last)),
            self.clicks.filter(pc.less(self.clicks["click_ts"], last)),
        )

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
