"""What the monitor measures and writes: daily figures, verdicts and savings of live runs."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from pipeline.driver import ENTITY, NOW, Pipeline
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import DEPLOYED, daily, lose_files, open_second, verdicts, watch
from pipeline.monitor.worlds import LIVE_DAYS, MORNING, SECOND

from optimizer.control_plane import deployments, live_records, registry
from optimizer.control_plane.audit import Author
from optimizer.deployment.measurement import without_unloaded_day


def test_a_run_that_meets_its_forecast_is_on_target_and_its_figures_are_written(live, first_run: FinishedRun):
    pipeline, run_id = live("kept"), first_run.handle.run_id
    before = registry.read_metrics(pipeline.systems.engine, run_id)
    found = watch(pipeline)
    assert (found["alerts"], found["actions"]) == ([], [])
    figures, days = verdicts(pipeline, run_id), daily(pipeline, run_id)
    win_rate, cpm = figures["win_rate"], figures["cpm"]
    assert (win_rate.days, win_rate.last_day, win_rate.verdict, cpm.verdict) == (
        LIVE_DAYS,
        date(2026, 2, 9),
        "on target",
        "on target",
    )
    assert [day.traffic_pct for day in days] == [pytest.approx(100 * 17 / 24, abs=1), *[100.0] * (LIVE_DAYS - 1)]
    assert win_rate.live == pytest.approx(sum(day.wins for day in days) / sum(day.bids for day in days))
    assert win_rate.live_low < win_rate.live < win_rate.live_high
    forecast = first_run.read_json("metrics.json")["bidding"]
    # metrics.json is about the planned bids; the forecast is that of the bids as they are served, jitter and all.
    assert win_rate.expected == pytest.approx(forecast["expected_win_rate"], rel=0.05)
    assert cpm.expected == pytest.approx(forecast["expected_cpm"], rel=0.05)
    assert figures["margin"].expected == pytest.approx(forecast["expected_margin"], abs=0.01)
    assert {day.forecast_cpm for day in days} == {cpm.expected}
    assert registry.read_metrics(pipeline.systems.engine, run_id) == before


def test_a_second_look_replaces_its_own_figures(live, first_run: FinishedRun):
    pipeline = live("kept")
    assert watch(pipeline) == watch(pipeline)
    early = watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert early["alerts"] == [] and "2 of 3 days" in early["runs"][0]


def test_before_a_day_is_over_the_warehouse_is_not_asked(live, first_run: FinishedRun):
    pipeline = live("kept")

    def away() -> None:
        raise AssertionError("the warehouse was asked")

    silent = Pipeline(replace(pipeline.systems, connect_warehouse=away))
    found = watch(silent, now=NOW + timedelta(hours=3))
    assert found["alerts"] == [] and verdicts(silent, first_run.handle.run_id)["win_rate"].days == 0


def test_the_newest_day_counts_only_once_its_views_are_loaded():
    days = pd.DataFrame({"day": [1, 1, 2, 2], "run_id": list("abab"), "wins": [5.0, 0.0, 0.0, 0.0]})
    assert without_unloaded_day(days)["day"].tolist() == [1, 1]
    assert len(without_unloaded_day(days.assign(wins=[5.0, 0.0, 0.0, 1.0]))) == 4
    assert without_unloaded_day(days.iloc[:0]).empty


def test_the_policy_is_judged_and_its_savings_are_measured_against_the_control(live, first_run: FinishedRun):
    pipeline, run_id = live("beside", split={first_run.handle.run_id: 80, SECOND: 20}), first_run.handle.run_id
    engine = pipeline.systems.engine
    deployments.set_control(engine, entity_code=ENTITY, run_id=SECOND, author=Author("anna"), now=DEPLOYED)
    found = watch(pipeline)
    policy = [row for row in live_records.read_verdicts(engine, ENTITY) if row.run_id is None]
    by_control = {row.figure: row for row in policy if row.compared_with == "control"}
    assert {row.compared_with for row in policy} == {"forecast", "control"}
    assert by_control["win_rate"].control_run_id == SECOND and by_control["win_rate"].days == LIVE_DAYS
    assert by_control["cpm"].verdict in ("on target", "inconclusive")
    savings = {row.period: row for row in live_records.read_savings(engine, ENTITY)}
    own = daily(pipeline, run_id)
    assert set(savings) == {"yesterday", "month", "since_start"}
    whole, day = savings["since_start"], savings["yesterday"]
    assert (whole.days, whole.policy_bids, day.days) == (LIVE_DAYS, sum(row.bids for row in own), 1)
    # Both bid the same, so nothing is saved: the interval of all days contains 0, and one day has none.
    assert whole.saved_low < 0 < whole.saved_high and day.saved_low is None
    assert abs(whole.saved) < 0.1 * whole.policy_spend
    assert sum("saved on" in line for line in found["runs"]) == 3


def test_a_run_whose_forecast_cannot_be_read_is_an_alert_and_is_measured_all_the_same(live, first_run: FinishedRun):
    pipeline = live("kept")
    lose_files(pipeline, first_run.handle.run_id)
    (alert,) = watch(pipeline)["alerts"]
    assert f"the forecast of run {first_run.handle.run_id} cannot be read" in alert
    assert verdicts(pipeline, first_run.handle.run_id)["win_rate"].live > 0


def test_a_replaced_run_keeps_its_forecast_in_the_daily_figures(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside", split={run_id: 80, SECOND: 20})
    watch(pipeline)
    (forecast,) = {day.forecast_win_rate for day in daily(pipeline, run_id)}
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": MORNING - timedelta(hours=3)}
    deployments.deploy(pipeline.systems.engine, split={SECOND: 100}, **by)
    lose_files(pipeline, run_id)
    watch(pipeline)
    assert forecast is not None and {day.forecast_win_rate for day in daily(pipeline, run_id)} == {forecast}


def test_a_run_that_was_replaced_before_a_first_look_has_its_forecast_too(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside", split={run_id: 80, SECOND: 20})
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": MORNING - timedelta(hours=3)}
    deployments.deploy(pipeline.systems.engine, split={SECOND: 100}, **by)
    watch(pipeline)
    assert all(day.forecast_win_rate is not None for day in daily(pipeline, run_id))
    assert len(daily(pipeline, run_id)) == LIVE_DAYS


def test_a_run_that_was_replaced_this_morning_has_yesterday_in_its_daily_figures(live, first_run: FinishedRun):
    pipeline, run_id = live("kept"), first_run.handle.run_id
    open_second(pipeline, first_run)
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": MORNING - timedelta(hours=2)}
    deployments.deploy(pipeline.systems.engine, split={SECOND: 100}, **by)
    watch(pipeline)
    days = daily(pipeline, run_id)
    assert days[-1].day == date(2026, 2, 9) and days[-1].traffic_pct == 100
    assert len(days) == LIVE_DAYS and verdicts(pipeline, SECOND)["win_rate"].days == 0
