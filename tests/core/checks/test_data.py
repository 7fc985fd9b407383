"""Logs that are stale, incomplete or dirty."""

from datetime import datetime, timedelta

import pytest

from optimizer.core.checks.data import LogWindow, data_checks
from optimizer.core.config.settings import RunSettings
from optimizer.core.records.window_totals import DayCount, WindowTotals

END = datetime.fromisoformat("2026-02-04T00:00:00+00:00")
TOTALS = {
    "bid_rows": 20_000,
    "distinct_bids": 20_000,
    "zero_bids": 0,
    "joined_clicks": 0,
    "orphan_clicks": 0,
    "usable_bids": 20_000,
    "joined_views": 6_000,
    "duplicate_views": 0,
    "orphan_views": 0,
    "first_bid_ts": "2026-01-15 00:00:00",
    "last_bid_ts": "2026-02-03 23:59:00",
    "days": [{"bids": 1000, "wins": 300}] * 20,
}


def found(**totals) -> dict[str, str]:
    known = TOTALS | totals
    days = [DayCount.model_validate(day) for day in known["days"]]
    window = LogWindow(END - timedelta(days=20), END, days, recent_bids_per_day=[1000.0])
    checks = data_checks(WindowTotals.model_validate(known), window, RunSettings())
    return {check.name: check.verdict for check in checks}


def test_a_clean_log_passes():
    assert set(found().values()) == {"passed"}


@pytest.mark.parametrize(
    ("totals", "name", "verdict"),
    [
        ({"distinct_bids": 19_040}, "duplicate_bid_share", "holds"),
        ({"duplicate_views": 300}, "duplicate_view_share", "holds"),
        ({"orphan_views": 300}, "orphan_view_share", "holds"),
        ({"last_bid_ts": "2026-01-20 00:00:00"}, "data_age_days", "failed"),
        ({"joined_views": 0}, "join_rate", "failed"),
        ({"usable_bids": 2_000}, "bid_volume_share", "failed"),
        ({"days": [{"bids": 1000, "wins": 300}] * 19 + [{"bids": 100, "wins": 30}]}, "latest_bids_share", "failed"),
        (
            {"days": [{"bids": 1000, "wins": 300}] * 19 + [{"bids": 1000, "wins": 30}]},
            "latest_win_rate_share",
            "failed",
        ),
    ],
)
def test_what_is_wrong_with_the_log_fails_or_holds_the_run(totals: dict, name: str, verdict: str):
    assert found(**totals)[name] == verdict
