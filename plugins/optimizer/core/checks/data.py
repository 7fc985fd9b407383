"""Is the log complete, fresh and clean?"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from optimizer.core.checks.outcome import Check
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.config.settings import RunSettings
from optimizer.core.records.coarse_cells import CoarseCells
from optimizer.core.records.window_totals import DayCount, WindowTotals

MIN_JOIN_RATE = 0.001
LATEST_DAYS_CHECKED = 3
MAX_DUPLICATE_BID_SHARE = 0.01
MAX_DUPLICATE_VIEW_SHARE = 0.02
MAX_ORPHAN_VIEW_SHARE = 0.01

MAX_PRICE_BUCKETS = 9
"""Up to that many merged price buckets, bids are within 1 % of those on the finest grain (docs/benchmarks.md)."""

MAX_JUDGED_PRICE_BUCKETS = 27
"""Up to that many, the same features are chosen as on the finest grain."""

DATA = (
    Rule(
        name="bid_volume_share",
        severity="hard",
        relation=">=",
        limit_text="min_volume_share",
        problem="the log has far fewer bids per day than recent runs had",
        next_step="wait for the load of BIDS, or lower min_volume_share",
    ),
    Rule(
        name="join_rate",
        severity="hard",
        relation=">=",
        limit_text="0.001",
        problem="hardly any view joins a bid",
        next_step="check that VIEWS is loaded and carries the bid_id of BIDS",
    ),
    Rule(
        name="latest_bids_share",
        severity="hard",
        relation=">=",
        limit_text="min_volume_share",
        problem="one of the latest three days has far fewer bids than the days before",
        next_step="wait for the load of BIDS, or lower min_volume_share",
    ),
    Rule(
        name="latest_win_rate_share",
        severity="hard",
        relation=">=",
        limit_text="min_volume_share",
        problem="one of the latest three days has far fewer views per bid than the days before",
        next_step="wait for the load of VIEWS, or lower min_volume_share",
    ),
    Rule(
        name="data_age_days",
        severity="hard",
        relation="<=",
        limit_text="max_data_age_days",
        problem="the log ends too early",
        next_step="wait for the load of BIDS, or raise max_data_age_days",
    ),
    Rule(
        name="duplicate_bid_share",
        severity="hold",
        relation="<=",
        limit_text="0.01",
        problem="BIDS holds the same bid_id more than once",
        next_step="remove the duplicates from BIDS and fix its load",
    ),
    Rule(
        name="duplicate_view_share",
        severity="hold",
        relation="<=",
        limit_text="0.02",
        problem="VIEWS holds the same bid_id more than once",
        next_step="remove the duplicates from VIEWS and fix its load",
    ),
    Rule(
        name="orphan_view_share",
        severity="hold",
        relation="<=",
        limit_text="0.01",
        problem="too many views match no bid, so wins are missing from the win rates",
        next_step="check that BIDS and VIEWS are loaded for the same days and with the same bid_id",
    ),
    Rule(
        name="features_left_out",
        severity="soft",
        relation="<=",
        limit_text="0",
        problem="the log has more cells than max_cells, and features that the key may need were left out",
        next_step="raise max_cells, or set status='I' on features in opt_feature_macros that are not needed",
    ),
    Rule(
        name="price_buckets",
        severity="soft",
        relation="<=",
        limit_text="9",
        problem="the log has more cells than max_cells, and its prices were read in buckets of more than 57 %",
        next_step="raise max_cells, or lower lookback_days",
    ),
)

_RULES = by_name(DATA)


@dataclass(frozen=True, slots=True)
class LogWindow:
    """The window [start_at, end_at), UTC, and what is compared within and before it.

    days: bids and wins of each day with bids, in order.
    recent_bids_per_day: of recent runs; empty before there is one.
    """

    start_at: datetime
    end_at: datetime
    days: Sequence[DayCount]
    recent_bids_per_day: Sequence[float] = ()


def data_checks(totals: WindowTotals, window: LogWindow, settings: RunSettings) -> list[Check]:
    """Return the checks of the log."""
    start, end, recent = window.start_at, window.end_at, window.recent_bids_per_day
    newest = pd.Timestamp(totals.last_bid_ts, tz="UTC")
    views = totals.joined_views
    volume = totals.usable_bids / max(1, (end - start).days) / statistics.median(recent) if recent else None
    return [
        *_RULES["bid_volume_share"].check_known(volume, settings.min_volume_share),
        _RULES["join_rate"].check(views / totals.usable_bids, MIN_JOIN_RATE),
        *_latest_days(window.days, settings),
        _RULES["data_age_days"].check((pd.Timestamp(end) - newest) / pd.Timedelta(days=1), settings.max_data_age_days),
        _RULES["duplicate_bid_share"].check(_share(totals.duplicate_bids, totals.bid_rows), MAX_DUPLICATE_BID_SHARE),
        _RULES["duplicate_view_share"].check(
            _share(totals.duplicate_views, views + totals.duplicate_views), MAX_DUPLICATE_VIEW_SHARE
        ),
        _RULES["orphan_view_share"].check(totals.orphan_view_share, MAX_ORPHAN_VIEW_SHARE),
    ]


def coarse_checks(coarse: CoarseCells | None) -> list[Check]:
    """Return the checks of what max_cells made coarser; none where it did nothing."""
    if coarse is None:
        return []
    is_judged_well = coarse.judged_on is None or coarse.judged_on.price_buckets <= MAX_JUDGED_PRICE_BUCKETS
    doubtful = coarse.unjudged if is_judged_well else [score.feature_name for score in coarse.left_out]
    names = [
        f"{name} (in the key of the active run)" if name in coarse.lost_key else name
        for name in dict.fromkeys((*doubtful, *coarse.lost_key))
    ]
    problem = (
        f"the log has {coarse.finest_cells:,} cells, more than max_cells={coarse.max_cells:,}, so the bids' key cannot "
        f"have {', '.join(names)}"
    )
    return [
        _RULES["features_left_out"].check(len(names), 0, problem=problem if names else None),
        _RULES["price_buckets"].check(coarse.grain.price_buckets, MAX_PRICE_BUCKETS),
    ]


def _latest_days(days: Sequence[DayCount], settings: RunSettings) -> list[Check]:
    """The latest days against the earlier ones: a load that is incomplete changes bids long before anyone sees it."""
    latest, earlier = days[-LATEST_DAYS_CHECKED:], days[:-LATEST_DAYS_CHECKED]
    if len(earlier) < LATEST_DAYS_CHECKED:
        return []
    bids = statistics.median(day.bids for day in earlier)
    win_rate = statistics.median(day.wins / day.bids for day in earlier)
    lowest = min(day.wins / day.bids for day in latest)
    return [
        _RULES["latest_bids_share"].check(min(day.bids for day in latest) / bids, settings.min_volume_share),
        *_RULES["latest_win_rate_share"].check_known(
            lowest / win_rate if win_rate else None, settings.min_volume_share
        ),
    ]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
