"""Is the log complete, fresh and clean?"""

import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from optimizer.core.checks.outcome import Check
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.config.settings import RunSettings

MIN_JOIN_RATE = 0.001
LATEST_DAYS_CHECKED = 3
MAX_DUPLICATE_BID_SHARE = 0.01
MAX_DUPLICATE_VIEW_SHARE = 0.02
MAX_ORPHAN_VIEW_SHARE = 0.01

DATA = (
    Rule(
        "bid_volume_share",
        "hard",
        ">=",
        "min_volume_share",
        "the log has far fewer bids per day than recent runs had",
        "wait for the load of BIDS, or lower min_volume_share",
    ),
    Rule(
        "join_rate",
        "hard",
        ">=",
        "0.001",
        "almost no view joins a bid",
        "check that VIEWS is loaded and carries the bid_id of BIDS",
    ),
    Rule(
        "latest_bids_share",
        "hard",
        ">=",
        "min_volume_share",
        "one of the latest three days has far fewer bids than the days before",
        "wait for the load of BIDS, or lower min_volume_share",
    ),
    Rule(
        "latest_win_rate_share",
        "hard",
        ">=",
        "min_volume_share",
        "one of the latest three days has far fewer views per bid than the days before",
        "wait for the load of VIEWS, or lower min_volume_share",
    ),
    Rule(
        "data_age_days",
        "hard",
        "<=",
        "max_data_age_days",
        "the log ends too early",
        "wait for the load of BIDS, or raise max_data_age_days",
    ),
    Rule(
        "duplicate_bid_share",
        "hold",
        "<=",
        "0.01",
        "BIDS holds the same bid_id more than once",
        "remove the duplicates from BIDS and fix its load",
    ),
    Rule(
        "duplicate_view_share",
        "hold",
        "<=",
        "0.02",
        "VIEWS holds the same bid_id more than once",
        "remove the duplicates from VIEWS and fix its load",
    ),
    Rule(
        "orphan_view_share",
        "hold",
        "<=",
        "0.01",
        "too many views match no bid, so wins are missing from the win rates",
        "check that BIDS and VIEWS are loaded for the same days and with the same bid_id",
    ),
)

_RULES = by_name(DATA)


def data_checks(totals: Mapping[str, Any], inputs: Mapping[str, Any], settings: RunSettings) -> list[Check]:
    """Return the checks of the log.

    Args:
        totals: counts of the window, and `days`: bids and wins of each day with bids, in order.
        inputs: of the config snapshot: the window, and the bids a day of recent runs.
    """
    start, end = (datetime.fromisoformat(inputs[name]) for name in ("data_start_dt", "data_end_dt"))
    newest = pd.Timestamp(totals["last_bid_ts"], tz="UTC")
    views = totals["joined_views"]
    recent = inputs["recent_bids_per_day"]
    volume = totals["usable_bids"] / max(1, (end - start).days) / statistics.median(recent) if recent else None
    return [
        *_RULES["bid_volume_share"].check_known(volume, settings.min_volume_share),
        _RULES["join_rate"].check(views / totals["usable_bids"], MIN_JOIN_RATE),
        *_latest_days(totals["days"], settings),
        _RULES["data_age_days"].check((pd.Timestamp(end) - newest) / pd.Timedelta(days=1), settings.max_data_age_days),
        _RULES["duplicate_bid_share"].check(
            _share(totals["duplicate_bids"], totals["bid_rows"]), MAX_DUPLICATE_BID_SHARE
        ),
        _RULES["duplicate_view_share"].check(
            _share(totals["duplicate_views"], views + totals["duplicate_views"]), MAX_DUPLICATE_VIEW_SHARE
        ),
        _RULES["orphan_view_share"].check(
            _share(totals["orphan_views"], views + totals["orphan_views"]), MAX_ORPHAN_VIEW_SHARE
        ),
    ]


def _latest_days(days: Sequence[Mapping[str, int]], settings: RunSettings) -> list[Check]:
    """The latest days against the earlier ones: a load that is incomplete changes bids long before anyone sees it."""
    latest, earlier = days[-LATEST_DAYS_CHECKED:], days[:-LATEST_DAYS_CHECKED]
    if len(earlier) < LATEST_DAYS_CHECKED:
        return []
    bids = statistics.median(day["bids"] for day in earlier)
    win_rate = statistics.median(day["wins"] / day["bids"] for day in earlier)
    lowest = min(day["wins"] / day["bids"] for day in latest)
    return [
        _RULES["latest_bids_share"].check(min(day["bids"] for day in latest) / bids, settings.min_volume_share),
        *_RULES["latest_win_rate_share"].check_known(
            lowest / win_rate if win_rate else None, settings.min_volume_share
        ),
    ]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
