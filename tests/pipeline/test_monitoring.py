"""The monitor on a real warehouse, with a real run's published bids in a simulated market whose truth is known."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from control_plane.catalog import sample_results
from pipeline.conftest import FinishedRun
from pipeline.driver import ENTITY, FIRST_DAY, NOW, Pipeline
from servers.embedded import connect_schema, load_events
from sqlalchemy import select, update

from lab.market.auctions import Requests, draw_requests
from lab.market.events import serve
from lab.market.policies import BidTablePolicy
from lab.market.presets import PRESETS
from lab.market.published import read_bid_table
from lab.market.tables import concat_events
from lab.market.world import World
from lab.stack import LocalStack
from optimizer.control_plane import canaries, deployments, live_records, registry, tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import Promotion
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.records import LiveDay, LiveVerdict
from optimizer.control_plane.registry import register_results
from optimizer.control_plane.splits import percents_of
from optimizer.core.live.canary_plan import read_plan
from optimizer.deployment.monitor import monitor_entity, without_unloaded_day

LIVE_DAYS, BIDS_A_DAY = 6, 5_000
DEPLOYED = NOW + timedelta(hours=1)
MORNING = datetime(2026, 2, 4 + LIVE_DAYS, 2, 30, tzinfo=UTC)
"""The monitor's last morning: the run was live for most of the first day and for all of the others."""

SECOND = "20260204_070000"


@pytest.fixture(scope="module")
def table(first_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> BidTablePolicy:
    """Return what the bidder serves of the first run."""
    folder = tmp_path_factory.mktemp("served")
    store = first_run.pipeline.systems.store
    for key in store.list_keys(first_run.handle.output_uri):
        name = key.rsplit("/", 1)[-1]
        store.get_file(first_run.handle.output_uri + name, folder / name)
    return read_bid_table(folder)


@pytest.fixture(scope="module")
def market(
    systems: LocalStack, table: BidTablePolicy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Callable[[], Any]]]:
    """Return what opens the warehouse of a world: the run alone, halved, or beside a second run on a tenth."""
    world = World.create(7, settings=replace(PRESETS[ENTITY], first_day=FIRST_DAY, click_rate=0.002))
    requests = draw_requests(world, start_day=NOW.date(), days=LIVE_DAYS, count=LIVE_DAYS * BIDS_A_DAY * 2, seed=3)
    is_tried = np.random.default_rng(3).random(len(requests)) < 0.2
    second = replace(table, run_id=SECOND)
    worlds = {
        "kept": [(~is_tried, table)],
        "halved": [(~is_tried, halve(table))],
        "beside": [(~is_tried, table), (is_tried, second)],
        "beside_halved": [(~is_tried, table), (is_tried, halve(second))],
    }
    for name, served in worlds.items():
        events = concat_events(serve(world, pick(requests, chosen), policy=policy) for chosen, policy in served)
        with connect_schema(systems, f"live_{name}") as connection:
            load_events(connection, events, folder=tmp_path_factory.mktemp(name))
    yield lambda name: lambda: connect_schema(systems, f"live_{name}")


def pick(requests: Requests, chosen: np.ndarray) -> Requests:
    return Requests(*(getattr(requests, name)[chosen] for name in Requests.__dataclass_fields__))


def halve(table: BidTablePolicy) -> BidTablePolicy:
    bids = {key: bid / 2 for key, bid in table.bids.items()}
    return replace(table, bids=bids, fallback_bid_cpm=table.fallback_bid_cpm / 2)


@pytest.fixture
def live(after_first_run: Pipeline, market: Callable[[str], Callable[[], Any]], first_run: FinishedRun):
    """Return what puts the first run live in a world, perhaps with a second one, and gives the pipeline."""
    engine = after_first_run.systems.engine

    def begin(
        world: str, *, split: dict[str, int] | None = None, canary: bool = False, plan: str = "20", **config: str
    ) -> Pipeline:
        with transaction(engine) as connection:
            connection.execute(update(tables.deployments).values(deployed_at=DEPLOYED - timedelta(minutes=10)))
            entity_id = connection.scalar(
                select(tables.entities.c.entity_id).where(tables.entities.c.entity_code == ENTITY)
            )
            for key, value in config.items():
                row = {"entity_id": entity_id, "config_key": key, "config_value": value}
                connection.execute(tables.entity_configs.insert().values(row))
        if split or canary:
            open_second(after_first_run, first_run)
        if split:
            by = {"entity_code": ENTITY, "author": Author("anna"), "now": DEPLOYED}
            deployments.deploy(engine, split=split, **by)
        if canary:
            deployments.start_canary(
                engine, Promotion(SECOND), entity_code=ENTITY, canary_plan=read_plan(plan), now=DEPLOYED
            )
        return Pipeline(replace(after_first_run.systems, connect_warehouse=market(world)))

    return begin


def open_second(pipeline: Pipeline, first_run: FinishedRun) -> None:
    """Complete a second run that published the same bids as the first."""
    assert pipeline.open("second", now=datetime(2026, 2, 4, 7, tzinfo=UTC)).run_id == SECOND
    features = ({"feature_name": "os_code", "feature_order": 1},)
    results = sample_results(features=features, s3_output_path=first_run.handle.output_uri)
    register_results(pipeline.systems.engine, SECOND, results=results, now=NOW)


def lose_files(pipeline: Pipeline, run_id: str) -> None:
    with transaction(pipeline.systems.engine) as connection:
        gone = update(tables.runs).where(tables.runs.c.run_id == run_id)
        connection.execute(gone.values(s3_output_path="s3://pipeline/nowhere/"))


def watch(pipeline: Pipeline, *, now: datetime = MORNING) -> dict[str, Any]:
    return monitor_entity(ENTITY, systems=pipeline.systems, now=now)


def verdicts(pipeline: Pipeline, run_id: str, compared_with: str = "forecast") -> dict[str, LiveVerdict]:
    """Return the latest verdict of each figure of the run."""
    found = live_records.read_verdicts(pipeline.systems.engine, ENTITY)
    return {row.figure: row for row in found if (row.run_id, row.compared_with) == (run_id, compared_with)}


def daily(pipeline: Pipeline, run_id: str) -> list[LiveDay]:
    return [row for row in live_records.read_days(pipeline.systems.engine, ENTITY) if row.run_id == run_id]


def active(pipeline: Pipeline) -> dict[str, int]:
    return percents_of(deployments.read_active(pipeline.systems.engine, ENTITY))


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


def test_halved_bids_are_an_alert_with_the_figures_and_nothing_is_undone_by_default(live, first_run: FinishedRun):
    pipeline = live("halved")
    found = watch(pipeline)
    (alert,) = found["alerts"]
    assert f"entity drugs_hcp: run {first_run.handle.run_id} (100 % of the traffic) is below its forecast" in alert
    assert "win_rate" in alert and "short by more than 10 %" in alert
    assert verdicts(pipeline, first_run.handle.run_id)["win_rate"].verdict == "below target"
    assert active(pipeline) == {first_run.handle.run_id: 100} and found["actions"] == []


def test_auto_rollback_without_an_earlier_split_is_reported(live, first_run: FinishedRun):
    pipeline = live("halved", auto_rollback="true")
    alerts = watch(pipeline)["alerts"]
    assert any("there is no earlier split to go back to" in alert for alert in alerts)
    assert active(pipeline) == {first_run.handle.run_id: 100}


def test_auto_rollback_goes_back_to_the_split_before_where_a_run_is_below_its_control(live, first_run: FinishedRun):
    pipeline = live("beside_halved", split={first_run.handle.run_id: 80, SECOND: 20}, auto_rollback="true")
    found = watch(pipeline)
    assert any(
        f"run {SECOND} (20 % of the traffic) is below its control, run {first_run.handle.run_id}" in text
        for text in found["alerts"]
    )
    assert active(pipeline) == {first_run.handle.run_id: 100}
    (row,) = deployments.read_active(pipeline.systems.engine, ENTITY)
    assert (row.deployed_by, row.source) == ("airflow:monitor", "rollback")
    assert "auto_rollback" in found["actions"][0]
    assert verdicts(pipeline, SECOND, "split")["win_rate"].verdict == "below target"


def test_a_canary_on_target_gets_all_the_traffic(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True)
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}
    waiting = watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert (waiting["actions"], waiting["alerts"]) == ([], [])
    found = watch(pipeline)
    assert found["alerts"] == [] and f"run {SECOND}, tried on 20 % of the traffic, is on target" in found["actions"][0]
    assert active(pipeline) == {SECOND: 100}


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


def test_a_canary_gets_more_traffic_step_by_step_and_the_whole_once_it_is_on_target(live, first_run: FinishedRun):
    pipeline, run_id = live("beside", canary=True, plan="20@1d, 50@4d, 100"), first_run.handle.run_id
    early = watch(pipeline, now=datetime(2026, 2, 5, 2, 30, tzinfo=UTC))
    assert early["actions"] == [] and active(pipeline) == {run_id: 80, SECOND: 20}
    second_day = watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert "has had step 1 of 2" in second_day["actions"][0] and active(pipeline) == {run_id: 50, SECOND: 50}
    assert watch(pipeline, now=datetime(2026, 2, 7, 2, 30, tzinfo=UTC))["actions"] == []
    found = watch(pipeline)
    assert f"run {SECOND}, tried on 50 % of the traffic, is on target" in found["actions"][0]
    assert active(pipeline) == {SECOND: 100} and canaries.read_open(pipeline.systems.engine, ENTITY) is None


def test_a_canary_whose_files_are_gone_gets_no_further_step(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True, plan="20@1d, 50@4d, 100")
    lose_files(pipeline, SECOND)
    found = watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert found["actions"] == [] and active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}


def test_a_canary_that_a_person_paused_stays_at_its_step(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True, plan="20@1d, 100")
    engine = pipeline.systems.engine
    deployments.pause_canary(engine, entity_code=ENTITY, author=Author("anna"), now=DEPLOYED)
    found = watch(pipeline)
    assert "is paused by anna" in found["actions"][0]
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}


def test_an_alert_is_new_once_and_over_once(live, first_run: FinishedRun):
    pipeline = live("halved")
    first, again = watch(pipeline), watch(pipeline)
    assert first["opened"] == first["alerts"] and (again["opened"], again["closed"]) == ([], [])
    over = watch(pipeline, now=datetime(2026, 2, 5, 2, 30, tzinfo=UTC))
    assert over["alerts"] == [] and over["closed"] == first["alerts"]


def test_a_canary_below_target_is_rolled_back_and_alerts(live, first_run: FinishedRun):
    pipeline = live("beside_halved", canary=True)
    found = watch(pipeline)
    assert active(pipeline) == {first_run.handle.run_id: 100}
    assert any(
        f"run {SECOND} (20 % of the traffic) is below its control, run {first_run.handle.run_id}" in text
        for text in found["alerts"]
    )
    assert not any(f"run {first_run.handle.run_id}" in text.split("is below")[0] for text in found["alerts"])


def test_a_canary_that_stays_undecided_is_reported_since_it_keeps_others_from_being_tried(live):
    found = watch(live("beside", canary=True, monitor_min_days="30"), now=MORNING + timedelta(days=10))
    assert any("is not decided after 14 days" in alert for alert in found["alerts"])


def test_a_canary_whose_files_are_gone_gets_no_more_traffic(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True)
    lose_files(pipeline, SECOND)
    found = watch(pipeline)
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20} and found["actions"] == []
    assert any(f"the forecast of run {SECOND} cannot be read" in alert for alert in found["alerts"])


def test_auto_rollback_passes_over_a_split_whose_files_are_gone(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_halved", split={run_id: 80, SECOND: 20}, auto_rollback="true")
    lose_files(pipeline, run_id)
    alerts = watch(pipeline)["alerts"]
    assert any(f"the files of run {run_id} cannot be served" in alert for alert in alerts)
    assert active(pipeline) == {run_id: 80, SECOND: 20}


def test_auto_rollback_goes_back_once_and_then_needs_a_user(live, first_run: FinishedRun):
    pipeline, run_id = live("halved", auto_rollback="true"), first_run.handle.run_id
    open_second(pipeline, first_run)
    with transaction(pipeline.systems.engine) as connection:
        connection.execute(update(tables.deployments).values(source="rollback"))
        earlier = {"run_id": SECOND, "entity_id": 1, "traffic_pct": 100, "is_active": False, "deployed_by": "anna"}
        moments = {"deployed_at": NOW - timedelta(days=9), "deactivated_at": NOW - timedelta(days=8)}
        connection.execute(tables.deployments.insert().values(deployment_id=0, **earlier, **moments))
    found = watch(pipeline)
    assert found["actions"] == [] and active(pipeline) == {run_id: 100}
    assert any(f"auto_rollback has gone back to run {run_id} and goes no further" in text for text in found["alerts"])


def test_a_run_that_was_taken_off_and_brought_back_is_judged_again(live, first_run: FinishedRun):
    pipeline, run_id = live("halved", auto_rollback="true"), first_run.handle.run_id
    engine = pipeline.systems.engine
    open_second(pipeline, first_run)
    for split, day in (({SECOND: 100}, 7), ({run_id: 100}, 8)):
        moment = datetime(2026, 2, day, tzinfo=UTC)
        deployments.deploy(engine, entity_code=ENTITY, split=split, author=Author("anna"), now=moment)
    found = watch(pipeline)
    assert (found["alerts"], found["actions"]) == ([], [])
    assert verdicts(pipeline, run_id)["win_rate"].days == 2 and active(pipeline) == {run_id: 100}


def test_a_live_run_of_which_the_warehouse_has_no_bids_is_an_alert(live, first_run: FinishedRun):
    pipeline = live("kept", split={first_run.handle.run_id: 80, SECOND: 20})
    (alert,) = watch(pipeline)["alerts"]
    assert f"run {SECOND} (20 % of the traffic) was live on {LIVE_DAYS} days of which the warehouse has none" in alert
    assert verdicts(pipeline, SECOND, "split")["win_rate"].verdict == "inconclusive"


def test_the_newest_day_counts_only_once_its_views_are_loaded():
    days = pd.DataFrame({"day": [1, 1, 2, 2], "run_id": list("abab"), "wins": [5.0, 0.0, 0.0, 0.0]})
    assert without_unloaded_day(days)["day"].tolist() == [1, 1]
    assert len(without_unloaded_day(days.assign(wins=[5.0, 0.0, 0.0, 1.0]))) == 4
    assert without_unloaded_day(days.iloc[:0]).empty


def test_a_split_that_a_user_changed_while_it_was_measured_stays(live, first_run: FinishedRun):
    pipeline = live("beside", canary=True)
    engine, connect = pipeline.systems.engine, pipeline.systems.connect_warehouse

    def meanwhile() -> Any:
        by = {"entity_code": ENTITY, "author": Author("ben"), "now": MORNING}
        deployments.deploy(engine, split={first_run.handle.run_id: 50, SECOND: 50}, **by)
        return connect()

    found = watch(Pipeline(replace(pipeline.systems, connect_warehouse=meanwhile)))
    assert active(pipeline) == {first_run.handle.run_id: 50, SECOND: 50}
    (action,) = found["actions"]
    assert action == f"nothing was done: entity drugs_hcp: the canary of run {SECOND} was ended meanwhile"


def test_a_run_whose_forecast_cannot_be_read_is_an_alert_and_is_measured_all_the_same(live, first_run: FinishedRun):
    pipeline = live("kept")
    lose_files(pipeline, first_run.handle.run_id)
    (alert,) = watch(pipeline)["alerts"]
    assert f"the forecast of run {first_run.handle.run_id} cannot be read" in alert
    assert verdicts(pipeline, first_run.handle.run_id)["win_rate"].live > 0
