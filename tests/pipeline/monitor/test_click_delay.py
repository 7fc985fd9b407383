"""Clicks that come late: their share by day, and what is added to earlier days."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pipeline.driver import Pipeline
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import daily, verdicts, watch
from pipeline.monitor.worlds import LATE_HOURS, LIVE_DAYS, MORNING

from optimizer.control_plane.live_rows import LiveDay


def clicks_arrived(day: LiveDay, *, now: datetime) -> float:
    """Return the true share of the day's clicks that has come, with views at the same rate over the day."""
    hours = (now - datetime.combine(day.day, datetime.min.time(), UTC)) / timedelta(hours=1)
    return float(np.mean(1 - np.exp(-(hours - np.linspace(0, 24, 241)) / LATE_HOURS)))


def test_the_share_of_the_clicks_that_has_arrived_is_written_by_day(live, first_run: FinishedRun):
    pipeline, run_id = live("later_clicks"), first_run.handle.run_id
    found = watch(pipeline)
    days = daily(pipeline, run_id)
    assert len(days) == LIVE_DAYS
    for day in days:
        assert day.click_maturity == pytest.approx(clicks_arrived(day, now=MORNING), abs=0.07)
    assert days[-1].click_maturity < 0.7
    (line,) = (line for line in found["runs"] if line.startswith("Clicks still coming: "))
    assert f"{100 * days[-1].click_maturity:.0f} % of the clicks of 2026-02-09" in line
    clicks, wins = (sum(getattr(day, name) for day in days) for name in ("clicks", "wins"))
    weighed = sum(day.wins * day.click_maturity for day in days)
    assert verdicts(pipeline, run_id)["ctr"].live == pytest.approx(clicks / weighed)
    assert clicks / weighed > 1.1 * clicks / wins


def test_late_clicks_are_added_to_the_days_before(live, market, first_run: FinishedRun):
    pipeline, run_id = live("late_clicks"), first_run.handle.run_id
    watch(pipeline, now=MORNING - timedelta(days=1))
    before = {day.day: day for day in daily(pipeline, run_id)}
    watch(Pipeline(replace(pipeline.systems, connect_warehouse=market("later_clicks"))))
    after = {day.day: day for day in daily(pipeline, run_id)}
    assert len(before) == LIVE_DAYS - 1 and after.keys() > before.keys()
    last = max(before)
    assert after[last].clicks > 1.2 * before[last].clicks and after[last].wins == before[last].wins
    assert after[last].click_maturity > before[last].click_maturity + 0.1


def test_too_few_clicks_show_no_delay(live, first_run: FinishedRun):
    pipeline, run_id = live("kept"), first_run.handle.run_id
    found = watch(pipeline)
    assert {day.click_maturity for day in daily(pipeline, run_id)} == {None}
    assert any(line.startswith("How late clicks come is not known yet") for line in found["runs"])
