"""What a run read from the log: counts of its window, and where the extracted cells are staged."""

from collections.abc import Mapping
from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, computed_field

from optimizer.core.landscape.cells import block_hours
from optimizer.core.pricing.forecast import EarlierForecast
from optimizer.core.records.coarse_cells import CoarseCells


class ViewCounts(BaseModel):
    """Views and clicks of a window: joined ones match a bid of it, orphans match none."""

    model_config = ConfigDict(frozen=True)

    joined_views: int
    joined_clicks: int
    orphan_views: int
    orphan_clicks: int

    @property
    def orphan_view_share(self) -> float:
        """The share of the window's views that match no bid."""
        views = self.joined_views + self.orphan_views
        return self.orphan_views / views if views else 0.0


class WindowTotals(ViewCounts):
    """What the window holds; see include/sql/snowflake/window_totals.sql."""

    bid_rows: int
    distinct_bids: int
    usable_bids: int
    zero_bids: int
    first_bid_ts: str
    last_bid_ts: str
    duplicate_views: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def duplicate_bids(self) -> int:
        """Rows of BIDS beyond the first with the same bid_id."""
        return self.bid_rows - self.distinct_bids

    @property
    def block_hours(self) -> int | None:
        """The length of the blocks that the cells of this window need, hours; None where days are enough."""
        return block_hours(datetime.fromisoformat(self.first_bid_ts), datetime.fromisoformat(self.last_bid_ts))


class DayCount(BaseModel):
    """Bids and wins of one day."""

    model_config = ConfigDict(frozen=True)

    bids: int
    wins: int


class QueryCosts(BaseModel):
    """What the statements that read a run's log scanned and cost in the warehouse.

    execution_s: seconds that they took there, all together.
    cloud_services_credits: credits of Snowflake's cloud services, without those of the virtual warehouse.
    """

    model_config = ConfigDict(frozen=True)

    statements: int
    bytes_scanned: int
    execution_s: float
    cloud_services_credits: float


class StagedLog(WindowTotals):
    """totals.json: the totals of the window and the names of the staged cells.

    candidate_features: columns of the log that may make up a segment, in order.
    rows, files: number of rows and file name of each table of cells, by its name in `run_files`.
    days: bids and wins of each day with bids, in order.
    earlier_runs: run_id -> features of its key, of the earlier runs whose planned bids are known.
    earlier_forecasts: run_id -> what the run forecast of its own days.
    click_maturity: the share of the clicks that had arrived, by day of the last two weeks; empty where it is not known.
    query_costs: what reading the log cost; None if the warehouse does not report it.
    merged_days: days that are one with others in the cells; they are not in `days`.
    coarse: what is coarser in the cells because of max_cells; None where nothing is.
    """

    candidate_features: tuple[str, ...]
    rows: Mapping[str, int]
    files: Mapping[str, str]
    days: tuple[DayCount, ...]
    earlier_runs: Mapping[str, tuple[str, ...]]
    earlier_forecasts: Mapping[str, EarlierForecast]
    click_maturity: Mapping[date, float] = {}
    query_costs: QueryCosts | None = None
    merged_days: int = 0
    coarse: CoarseCells | None = None
