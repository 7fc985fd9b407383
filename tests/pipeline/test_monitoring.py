"""The monitor on a real warehouse, with a real run's published bids in a simulated market whose truth is known."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from control_plane.catalog import sample_results
from pipeline.driver import ENTITY, FIRST_DAY, NOW, Pipeline
from pipeline.first_run import FinishedRun
from servers.embedded import connect_schema, load_events
from sqlalchemy import select, update

from lab.market.auctions import Requests, draw_requests
from lab.market.events import serve
from lab.market.policies import BidTablePolicy, FlatPolicy
from lab.market.presets import PRESETS
from lab.market.published import read_bid_table
from lab.market.tables import Events, concat_events
from lab.market.world import World
from lab.stack import LocalStack
from optimizer.artifacts.serving_snapshot import read_snapshot, snapshot_uri
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import (
    canaries,
    canary_splits,
    deployment_history,
    deployments,
    live_records,
    registry,
    tables,
)
from optimizer.control_plane.alerts import read_open
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.records import LiveDay, LiveVerdict
from optimizer.control_plane.registry import register_results
from optimizer.control_plane.splits import percents_of
from optimizer.core.live.canary_plan import read_plan
from optimizer.deployment.measurement import without_unloaded_day
from optimizer.deployment.monitor import list_watched, monitor_entities, monitor_entity
from optimizer.errors import DeploymentError, UnavailableError, WarehouseError

LIVE_DAYS, BIDS_A_DAY = 6, 5_000
DEPLOYED = NOW + timedelta(hours=1)
MORNING = datetime(2026, 2, 4 + LIVE_DAYS, 2, 30, tzinfo=UTC)
"""The monitor's last morning: the run was live for most of the first day and for all of the others."""

LATE_HOURS = 20.0

SECOND = "20260204_070000"
SECOND_STEP = datetime(2026, 2, 6, 2, 30, tzinfo=UTC)


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
    """Return what opens the warehouse of a world: the run alone, halved, or beside a second run on a fifth.

    In the world `stepped` the second run gets half from SECOND_STEP on, in `too_often` it gets 30 %. In `late_clicks`
    clicks come LATE_HOURS after their views in the mean, and the log holds what had come by the day before MORNING; in
    `later_clicks`, by MORNING. Both have the log of the two weeks before.
    """
    world = World.create(7, settings=replace(PRESETS[ENTITY], first_day=FIRST_DAY, click_rate=0.002))
    requests = draw_requests(world, start_day=NOW.date(), days=LIVE_DAYS, count=LIVE_DAYS * BIDS_A_DAY * 2, seed=3)
    draw = np.random.default_rng(3).random(len(requests))
    is_tried, is_often = draw < 0.2, draw < 0.3
    is_stepped = draw < np.where(requests.bid_ts < SECOND_STEP.timestamp() * 1e6, 0.2, 0.5)
    second = replace(table, run_id=SECOND)
    worlds = {
        "kept": [(~is_tried, table)],
        "halved": [(~is_tried, halve(table))],
        "beside": [(~is_tried, table), (is_tried, second)],
        "stepped": [(~is_stepped, table), (is_stepped, second)],
        "too_often": [(~is_often, table), (is_often, second)],
        "too_often_halved": [(~is_often, table), (is_often, halve(second))],
        "tripled": [(draw < 1, scale(table, 3))],
        "beside_tripled": [(~is_tried, table), (is_tried, scale(second, 3))],
        "not_refreshed": [(draw < 1, table)],
        "beside_halved": [(~is_tried, table), (is_tried, halve(second))],
    }
    loaded = {
        name: [serve(world, pick(requests, chosen), policy=policy) for chosen, policy in served]
        for name, served in worlds.items()
    }
    own, tried = loaded["beside"]
    loaded["clicks_lost"] = [clicked(own, every=50), replace(tried, clicks=tried.clicks.slice(0, 0))]
    logs = {name: concat_events(parts) for name, parts in loaded.items()}
    late = late_log(requests, table)
    logs |= {"late_clicks": late.until(MORNING - timedelta(days=1)), "later_clicks": late.until(MORNING)}
    for name, events in logs.items():
        with connect_schema(systems, f"live_{name}") as connection:
            load_events(connection, events, folder=tmp_path_factory.mktemp(name))
    yield lambda name: lambda: connect_schema(systems, f"live_{name}")


def late_log(requests: Requests, table: BidTablePolicy) -> Events:
    """Return the events of the run alone, and of flat bids before it, in a market whose clicks come late."""
    settings = replace(PRESETS[ENTITY], first_day=FIRST_DAY, click_rate=0.02, click_delay_hours=LATE_HOURS)
    world = World.create(7, settings=settings)
    before = draw_requests(world, start_day=NOW.date() - timedelta(days=14), days=14, count=14 * BIDS_A_DAY, seed=4)
    return concat_events(
        [serve(world, before, policy=FlatPolicy(world.flat_bid_cpm)), serve(world, requests, policy=table)]
    )


def pick(requests: Requests, chosen: np.ndarray) -> Requests:
    return Requests(*(getattr(requests, name)[chosen] for name in Requests.__dataclass_fields__))


def clicked(events: Events, *, every: int) -> Events:
    """Return the events with a click on one view of `every`, in place of their own."""
    views = events.views.take(list(range(0, len(events.views), every)))
    clicks = [views["bid_id"], views["view_ts"], pa.array([4.0] * len(views))]
    return replace(events, clicks=pa.Table.from_arrays(clicks, schema=events.clicks.schema))


def halve(table: BidTablePolicy) -> BidTablePolicy:
    return scale(table, 0.5)


def scale(table: BidTablePolicy, factor: float) -> BidTablePolicy:
    bids = {key: bid * factor for key, bid in table.bids.items()}
    return replace(table, bids=bids, fallback_bid_cpm=table.fallback_bid_cpm * factor)


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
            canary_splits.start_canary(
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
    return percents_of(deployment_history.read_active(pipeline.systems.engine, ENTITY))


def in_snapshot(pipeline: Pipeline) -> dict[str, int]:
    """Return the split that the entity's snapshot has."""
    prefix = read_definition(pipeline.systems.engine, ENTITY).entity.s3_base_path
    return {run.run_id: run.traffic_pct for run in read_snapshot(pipeline.systems.store, snapshot_uri(prefix)).runs}


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
    (row,) = deployment_history.read_active(pipeline.systems.engine, ENTITY)
    assert (row.deployed_by, row.source) == ("airflow:monitor", "rollback")
    assert "auto_rollback" in found["actions"][0]
    assert in_snapshot(pipeline) == {first_run.handle.run_id: 100}
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
    pipeline, run_id = live("stepped", canary=True, plan="20@1d, 50@4d, 100"), first_run.handle.run_id
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
    canary_splits.pause_canary(engine, entity_code=ENTITY, author=Author("anna"), now=DEPLOYED)
    found = watch(pipeline)
    assert "is paused by anna" in found["actions"][0]
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}


def test_a_canary_that_is_below_target_in_clicks_alone_is_paused_and_asks(live, first_run: FinishedRun):
    pipeline = live("clicks_lost", canary=True, plan="20@1d, 50@1d, 100")
    (alert,) = (text for text in watch(pipeline)["alerts"] if "is paused" in text)
    assert alert == (
        f"entity {ENTITY}: run {SECOND}, tried on 20 % of the traffic, is below target in ctr; run {SECOND} is paused "
        f"at step 1: `optimizer canary {ENTITY} resume` lets it go on, `optimizer canary {ENTITY} abort` takes it off"
    )
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}
    tried = canaries.read_open(pipeline.systems.engine, ENTITY)
    assert (tried.status, tried.step, tried.changed_by) == ("paused", 1, "airflow:monitor")
    again = watch(pipeline, now=MORNING + timedelta(days=1))
    assert alert in again["alerts"] and alert not in again["opened"], "it stays open until a person decides"
    by_hand = {"entity_code": ENTITY, "author": Author("anna"), "now": MORNING + timedelta(days=1)}
    canary_splits.abort_canary(pipeline.systems.engine, run_id=SECOND, **by_hand)
    assert alert in watch(pipeline, now=MORNING + timedelta(days=2))["closed"]


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


def test_a_first_run_below_target_leaves_all_traffic_to_the_control(live, first_run: FinishedRun):
    pipeline = live("beside_halved")
    engine = pipeline.systems.engine
    open_second(pipeline, first_run)
    with transaction(engine) as connection:
        connection.execute(tables.deployments.delete())
    control = {"entity_code": ENTITY, "run_id": first_run.handle.run_id, "author": Author("anna"), "now": DEPLOYED}
    deployments.set_control(engine, **control)
    plan = read_plan("20")
    canary_splits.start_canary(engine, Promotion(SECOND), entity_code=ENTITY, canary_plan=plan, now=DEPLOYED)
    assert active(pipeline) == {first_run.handle.run_id: 80, SECOND: 20}
    (action,) = watch(pipeline)["actions"]
    assert f"run {SECOND}, tried on 20 % of the traffic, is below target: now live run" in action
    assert active(pipeline) == {first_run.handle.run_id: 100}
    (row,) = deployment_history.read_active(engine, ENTITY)
    assert row.source == "control"


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
    assert any(f"auto_rollback went back to run {run_id}, which is below" in text for text in found["alerts"])


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
    split, alert = watch(pipeline)["alerts"]
    assert f"run {SECOND} (20 % of the traffic) was live on {LIVE_DAYS} days, but the warehouse has none" in alert
    assert "the traffic is not split as deployed" in split
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


def test_a_split_that_is_not_as_deployed_is_an_alert_and_runs_are_not_compared(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("too_often_halved", split={run_id: 80, SECOND: 20}, auto_rollback="true")
    found = watch(pipeline)
    (alert,) = (text for text in found["alerts"] if "not split as deployed" in text)
    shares = re.search(rf"run {SECOND} was deployed with (\S+) % and has (\S+) % of the bids", alert)
    assert shares is not None and [float(share) for share in shares.groups()] == [20, pytest.approx(30, abs=0.6)]
    assert "The cause is not known; compare the version and `/health` of every bidder" in alert
    beside = verdicts(pipeline, SECOND, "split")
    assert {row.verdict for row in beside.values()} == {"inconclusive"}
    assert beside["win_rate"].reason.endswith(": the traffic is not split as deployed")
    assert verdicts(pipeline, SECOND)["win_rate"].verdict == "below target"
    assert active(pipeline) == {run_id: 80, SECOND: 20} and found["actions"] == []


def test_a_canary_gets_no_more_traffic_while_the_split_is_not_as_deployed(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("too_often", canary=True, plan="20@1d, 50@1d, 100")
    found = watch(pipeline)
    assert found["actions"] == [] and active(pipeline) == {run_id: 80, SECOND: 20}
    assert found["opened"] == found["alerts"] and "not split as deployed" in found["alerts"][0]
    assert [row.kind for row in read_open(pipeline.systems.engine, ENTITY)] == ["split_mismatch"]


def test_a_bidder_that_did_not_refresh_is_named(live, first_run: FinishedRun):
    found = watch(live("not_refreshed", canary=True))
    (alert,) = (text for text in found["alerts"] if "not split as deployed" in text)
    assert "Likely: the bidder has not loaded the split; check `/health` of every bidder" in alert
    assert f"run {SECOND} was deployed with 20 % and has 0 % of the bids" in alert


def test_a_split_is_judged_from_its_first_evening_on(live):
    pipeline = live("too_often", canary=True)
    assert watch(pipeline, now=NOW + timedelta(hours=12))["alerts"] == []
    assert "not split as deployed" in watch(pipeline, now=datetime(2026, 2, 5, 2, 30, tzinfo=UTC))["alerts"][0]


FIRST_MORNING = datetime(2026, 2, 5, 2, 30, tzinfo=UTC)


def test_a_run_at_three_times_its_cpm_is_taken_off_on_the_first_morning(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20})
    found = watch(pipeline, now=FIRST_MORNING)
    assert active(pipeline) == {run_id: 100}
    (row,) = deployment_history.read_active(pipeline.systems.engine, ENTITY)
    assert (row.deployed_by, row.source) == ("airflow:monitor", "rollback")
    assert row.comment.startswith(f"spend guard: run {SECOND} (20 % of the traffic) had a")
    (alert,) = found["alerts"]
    assert f"run {SECOND} (20 % of the traffic) had a" in alert and "The last good split is live again" in alert
    assert [row.kind for row in read_open(pipeline.systems.engine, ENTITY)] == ["spend_guard"]


def test_the_spend_guard_wins_over_a_canary(live, first_run: FinishedRun):
    pipeline = live("beside_tripled", canary=True, plan="20@1d, 50@1d, 100")
    watch(pipeline, now=datetime(2026, 2, 6, 2, 30, tzinfo=UTC))
    assert active(pipeline) == {first_run.handle.run_id: 100}
    assert canaries.read_open(pipeline.systems.engine, ENTITY) is None


def test_a_pinned_split_is_not_exempt_and_the_alert_says_so(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20})
    deployments.set_pinned(
        pipeline.systems.engine, entity_code=ENTITY, is_pinned=True, author=Author("anna"), now=DEPLOYED
    )
    (alert,) = watch(pipeline, now=FIRST_MORNING)["alerts"]
    assert active(pipeline) == {run_id: 100} and "though the other one was pinned" in alert


def test_without_an_earlier_split_the_control_bids_for_all_traffic(live, first_run: FinishedRun):
    pipeline = live("tripled")
    open_second(pipeline, first_run)
    deployments.set_control(
        pipeline.systems.engine, entity_code=ENTITY, run_id=SECOND, author=Author("anna"), now=DEPLOYED
    )
    (alert,) = watch(pipeline, now=FIRST_MORNING)["alerts"]
    assert active(pipeline) == {SECOND: 100} and "The control has all the traffic now" in alert
    (row,) = deployment_history.read_active(pipeline.systems.engine, ENTITY)
    assert row.source == "control" and row.comment.startswith("spend guard: ")


def test_without_an_earlier_split_and_a_control_the_alert_says_what_to_do(live, first_run: FinishedRun):
    pipeline, run_id = live("tripled"), first_run.handle.run_id
    (alert,) = watch(pipeline, now=FIRST_MORNING)["alerts"]
    assert active(pipeline) == {run_id: 100}
    assert "there is no earlier split to go back to" in alert and "the entity has no control" in alert
    assert f"deploy one with `optimizer deploy {ENTITY} RUN=100`" in alert
    assert alert.endswith("Deploy a run that bids less, or stop the bidder for this client")


def test_a_control_that_cannot_be_served_is_not_deployed(live, first_run: FinishedRun):
    pipeline = live("tripled")
    open_second(pipeline, first_run)
    deployments.set_control(
        pipeline.systems.engine, entity_code=ENTITY, run_id=SECOND, author=Author("anna"), now=DEPLOYED
    )
    lose_files(pipeline, SECOND)
    (alert,) = watch(pipeline, now=FIRST_MORNING)["alerts"]
    assert active(pipeline) == {first_run.handle.run_id: 100}
    assert f"the files of run {SECOND} cannot be served" in alert


def test_max_overspend_is_the_bound_of_the_guard(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20}, max_overspend="10")
    assert watch(pipeline, now=FIRST_MORNING)["alerts"] == []
    assert active(pipeline) == {run_id: 80, SECOND: 20}


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


def test_the_spend_guard_acts_on_a_known_forecast_where_the_files_are_gone(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20}, max_overspend="10")
    watch(pipeline, now=FIRST_MORNING)
    with transaction(pipeline.systems.engine) as connection:
        bound = tables.entity_configs.c.config_key == "max_overspend"
        connection.execute(update(tables.entity_configs).where(bound).values(config_value="0.5"))
    lose_files(pipeline, SECOND)
    found = watch(pipeline, now=FIRST_MORNING)
    assert active(pipeline) == {run_id: 100}
    assert [row.kind for row in read_open(pipeline.systems.engine, ENTITY)] == ["forecast_unreadable", "spend_guard"]
    assert f"the forecast of run {SECOND} cannot be read" in found["alerts"][0]


def test_the_alerts_of_an_entity_that_is_live_no_more_are_closed(live, first_run: FinishedRun):
    pipeline = live("halved")
    engine, opened = pipeline.systems.engine, watch(pipeline)["opened"]
    with transaction(engine) as connection:
        connection.execute(update(tables.deployments).values(is_active=False, deactivated_at=MORNING))
    assert active(pipeline) == {} and list_watched(engine) == [ENTITY]
    assert watch(pipeline)["closed"] == opened
    assert list_watched(engine) == []


def test_two_monitors_at_once_write_each_figure_once_and_act_once(live, first_run: FinishedRun):
    pipeline = live("beside_halved", canary=True)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: watch(pipeline), range(2)))
    assert active(pipeline) == {first_run.handle.run_id: 100}
    assert sum("is below target: now live" in action for report in found for action in report["actions"]) == 1
    assert len(daily(pipeline, SECOND)) == LIVE_DAYS
    opened = [message for report in found for message in report["opened"]]
    assert len(opened) == len(set(opened)) > 0


def test_the_spend_guard_acts_while_new_runs_fail_their_validation(live, first_run: FinishedRun):
    run_id = first_run.handle.run_id
    pipeline = live("beside_tripled", split={run_id: 80, SECOND: 20})
    failed = pipeline.open("failed", now=datetime(2026, 2, 5, tzinfo=UTC))
    features = ({"feature_name": "os_code", "feature_order": 1},)
    results = sample_results(features=features, s3_output_path=first_run.handle.output_uri, validation_status="failed")
    register_results(pipeline.systems.engine, failed.run_id, results=results, now=FIRST_MORNING - timedelta(hours=1))
    with pytest.raises(DeploymentError, match="validation_status failed"):
        deployments.deploy(
            pipeline.systems.engine,
            entity_code=ENTITY,
            split={failed.run_id: 100},
            author=Author("anna"),
            now=FIRST_MORNING,
        )
    watch(pipeline, now=FIRST_MORNING)
    assert active(pipeline) == {run_id: 100}
    assert [row.kind for row in read_open(pipeline.systems.engine, ENTITY)] == ["spend_guard"]


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


def test_a_run_that_was_replaced_this_morning_has_yesterday_in_its_daily_figures(live, first_run: FinishedRun):
    pipeline, run_id = live("kept"), first_run.handle.run_id
    open_second(pipeline, first_run)
    by = {"entity_code": ENTITY, "author": Author("anna"), "now": MORNING - timedelta(hours=2)}
    deployments.deploy(pipeline.systems.engine, split={SECOND: 100}, **by)
    watch(pipeline)
    days = daily(pipeline, run_id)
    assert days[-1].day == date(2026, 2, 9) and days[-1].traffic_pct == 100
    assert len(days) == LIVE_DAYS and verdicts(pipeline, SECOND)["win_rate"].days == 0


def test_too_few_clicks_show_no_delay(live, first_run: FinishedRun):
    pipeline, run_id = live("kept"), first_run.handle.run_id
    found = watch(pipeline)
    assert {day.click_maturity for day in daily(pipeline, run_id)} == {None}
    assert any(line.startswith("How late clicks come is not known yet") for line in found["runs"])


def test_an_entity_that_cannot_be_looked_at_hides_no_other_and_its_report_says_why(live, first_run: FinishedRun):
    pipeline, told = live("halved"), []
    codes = ["drugs_com", "no_such_entity", ENTITY]
    with transaction(pipeline.systems.engine) as connection:
        connection.execute(update(tables.entities).where(tables.entities.c.entity_code == codes[0]).values(status="I"))
    reports = monitor_entities(codes, systems=pipeline.systems, now=MORNING, after_each=told.append)
    assert [report["entity_code"] for report in reports] == codes and told == reports
    assert reports[0]["alerts"] == [
        "entity drugs_com: its live runs could not be looked at: ConfigError: entity drugs_com is inactive; set "
        "opt_entities.status to 'A' to run it"
    ]
    assert "UnknownEntity: entity 'no_such_entity' is not in opt_entities" in reports[1]["alerts"][0]
    assert [report["runs"] for report in reports[:2]] == [[], []] and reports[2]["runs"] and reports[2]["alerts"]
    assert daily(pipeline, first_run.handle.run_id)


class SilentOnce:
    """An object store that does not answer the first request."""

    def __init__(self, store: ObjectStore) -> None:
        self.store, self.asked = store, 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        if self.asked == 1:
            raise UnavailableError("the object store does not answer")
        return getattr(self.store, name)


def test_an_entity_for_which_a_system_was_silent_is_looked_at_again(live):
    pipeline = live("halved")
    store = SilentOnce(pipeline.systems.store)
    (report,) = monitor_entities([ENTITY], systems=replace(pipeline.systems, store=store), now=MORNING)
    assert report["runs"] and store.asked > 1


def test_where_the_warehouse_is_silent_the_task_is_to_be_tried_again(live):
    def away() -> None:
        raise UnavailableError("the warehouse does not answer")

    with pytest.raises(UnavailableError, match="the warehouse does not answer"):
        monitor_entities([ENTITY], systems=replace(live("halved").systems, connect_warehouse=away), now=MORNING)


def test_where_the_warehouse_refuses_the_query_for_all_each_entity_is_looked_at_by_itself(live):
    pipeline, asked = live("halved"), []

    def refusing_once() -> Any:
        asked.append("warehouse")
        if len(asked) == 1:
            raise WarehouseError("there is no column no_such_place")
        return pipeline.systems.connect_warehouse()

    systems = replace(pipeline.systems, connect_warehouse=refusing_once)
    (report,) = monitor_entities([ENTITY], systems=systems, now=MORNING)
    assert report["runs"] and len(asked) == 2
