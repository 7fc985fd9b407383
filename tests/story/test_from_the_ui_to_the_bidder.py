"""The whole story, on real servers: a run that the UI inserts is claimed, learns, goes live and beats an earlier one.

What Airflow's tasks do is done here by the same functions without it; tests/orchestration shows that it calls them.
"""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from control_plane.statements import read_printed
from pipeline.driver import DAG_ID, ENTITY, Pipeline
from story.market import LiveDays, SimulatedMarket
from story.systems import APP, BIDDER, UI, StorySystems

from lab.stack.warehouse_loading import load_parquet
from optimizer.artifacts.manifest import read_manifest
from optimizer.bidder.openrtb import OpenRtb, read_mapping
from optimizer.bidder.refreshing import Refresher, require_success
from optimizer.bidder.service import BidderService
from optimizer.control_plane import deployments, live_records, runs
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.deployment.monitor import monitor_entity
from optimizer.lifecycle.claims import claim_pending
from optimizer.runs.handle import RunHandle

UI_SQL = read_printed("example_flow.sql")
"""The statements of the UI's team, character for character; they are about run 20260203_150000."""

ENTITY_VALUES = {"promotion": "none", "lookback_days": "28"}
"""A person says what goes live."""

JITTER_SD = 0.25
"""By how much the bids of the history varied at random, as a share of them: the runs know what a bid wins."""

EARLIER, RUN = "20260201_120000", "20260203_150000"
BEFORE_PRICES_ROSE, AFTERWARDS = datetime(2026, 1, 6, 12, tzinfo=UTC), datetime(2026, 2, 3, 15, tzinfo=UTC)
DEPLOYED_AT, LIVE_DAYS = datetime(2026, 2, 3, 18, tzinfo=UTC), 5
FIRST_LIVE_DAY = datetime(2026, 2, 4, tzinfo=UTC)
SPLIT = {RUN: 80, EARLIER: 20}


def test_a_run_that_the_ui_inserts_goes_live_next_to_an_earlier_one_and_wins_as_it_should(
    story_systems: StorySystems, market: SimulatedMarket, tmp_path: Path
):
    the_ui_inserts_a_run(story_systems, EARLIER)
    earlier = it_learns_and_is_validated(story_systems, EARLIER, now=BEFORE_PRICES_ROSE)

    the_ui_inserts_a_run(story_systems, RUN)
    pending_runs_claims_it_once(story_systems, RUN, now=AFTERWARDS)
    run = it_learns_and_is_validated(story_systems, RUN, now=AFTERWARDS)
    a_person_splits_the_traffic(story_systems)
    bidder = the_bidder_loads_both_runs_into_memcached(story_systems, run)
    live = the_bidder_answers_every_auction(market, bidder)
    the_events_flow_back_to_the_warehouse(story_systems, live, folder=tmp_path)
    the_monitor_names_the_winner_that_the_truth_names(story_systems, live, controls=(earlier, run))


def the_ui_inserts_a_run(systems: StorySystems, run_id: str) -> None:
    with transaction(systems.engines[UI]) as connection:
        for name in ("ui_inserts_run", "ui_inserts_run_configs"):
            connection.exec_driver_sql(UI_SQL[name].replace(RUN, run_id))
    run = runs.read_run(systems.engines[UI], run_id)
    assert (run.status, run.version_id, run.triggered_by) == ("pending", 5, "gaurav@company.com")


def pending_runs_claims_it_once(systems: StorySystems, run_id: str, *, now: datetime) -> None:
    def claim(dag_run_state: str | None) -> list[dict[str, Any]]:
        return claim_pending(
            systems.engines[APP], dag_run_state=lambda *_: dag_run_state, wait=lambda seconds: None, now=now
        )

    start = {"trigger_dag_id": DAG_ID, "trigger_run_id": f"ui__{run_id}", "conf": {"run_id": run_id}}
    assert claim(None) == [start]
    assert claim("queued") == []


def it_learns_and_is_validated(systems: StorySystems, run_id: str, *, now: datetime) -> RunHandle:
    pipeline, dag_run_id = Pipeline(systems.pipeline), f"ui__{run_id}"
    handle = pipeline.complete(dag_run_id, now=now, run_id=run_id)
    assert pipeline.promote(handle, now=now)["is_promoted"] is False, "the entity's promotion is none"
    closed = pipeline.close(dag_run_id)
    assert (closed["run_id"], closed["status"], closed["validation_status"]) == (run_id, "completed", "passed")
    row = pipeline.row(handle)
    asked = {"target_win_rate": 0.65, "max_bid_cpm": 30.0, "exploration_mode": True, "aggressive_exploration": True}
    config = {**row.config_snapshot["business"], **row.config_snapshot["technical"]}
    assert {key: config[key] for key in asked} == asked
    assert row.config_snapshot["sources"]["target_win_rate"] == "run"
    assert read_manifest(systems.store, row.s3_output_path).run_id == run_id
    assert row.data_end_dt.date() == now.date() and 0 < row.bid_min <= row.bid_max <= 30
    return handle


def a_person_splits_the_traffic(systems: StorySystems) -> None:
    by = {"entity_code": ENTITY, "author": Author("gaurav@company.com"), "now": DEPLOYED_AT}
    deployments.deploy(systems.engines[APP], split=SPLIT, **by)
    with reading(systems.engines[UI]) as connection:
        assert dict(connection.exec_driver_sql(UI_SQL["ui_reads_split"]).all()) == SPLIT


def the_bidder_loads_both_runs_into_memcached(systems: StorySystems, run: RunHandle) -> BidderService:
    refresher = Refresher(
        engine=systems.engines[BIDDER], store=systems.store, memcached=systems.memcached, entity_codes=[ENTITY]
    )
    report = refresher.refresh()
    require_success(report)
    generation = refresher.generations[ENTITY]
    assert report.switched == (ENTITY,) and dict(generation.percents) == SPLIT
    served = csv.DictReader(io.StringIO(systems.store.get_bytes(run.output_uri + "memcache.csv").decode()))
    bids = {row["segment_key"]: float(row["bid"]) for row in served}
    assert bids and {key: generation.runs[RUN].bids.find(key) for key in bids} == bids
    return BidderService(refresher)


def the_bidder_answers_every_auction(market: SimulatedMarket, bidder: BidderService) -> LiveDays:
    openrtb = OpenRtb(read_mapping(), currency="USD")

    def answer(body: bytes) -> dict[str, Any] | None:
        request = openrtb.read(body)
        asked = [question.asked for question in request.questions]
        return openrtb.write(request, loop.run(bidder.fetch_and_price(asked, entity_code=ENTITY)))

    with asyncio.Runner() as loop:
        live = market.hold_auctions(answer, start_day=FIRST_LIVE_DAY.date(), days=LIVE_DAYS)
        loop.run(bidder.refresher.memcached.reader.close())
    assert live.shares() == pytest.approx({RUN: 0.80, EARLIER: 0.20}, abs=0.02)
    return live


def the_events_flow_back_to_the_warehouse(systems: StorySystems, live: LiveDays, *, folder: Path) -> None:
    files = live.events.write_parquet(folder)
    with systems.connect_warehouse() as connection, connection.cursor() as cursor:
        for name, file in files.items():
            assert load_parquet(connection, table=name.upper(), files=[file]) > 0
        cursor.execute(
            "SELECT b.run_id, COUNT(*), COUNT(v.bid_id) FROM bids b LEFT JOIN views v ON v.bid_id = b.bid_id "
            "WHERE b.bid_ts >= %s GROUP BY b.run_id",
            (FIRST_LIVE_DAY.replace(tzinfo=None),),
        )
        found = {run_id: (bids, wins) for run_id, bids, wins in cursor.fetchall()}
    assert {run_id: bids for run_id, (bids, _) in found.items()} == live.bid_counts()
    assert all(0 < wins < bids for bids, wins in found.values())


def the_monitor_names_the_winner_that_the_truth_names(
    systems: StorySystems, live: LiveDays, *, controls: tuple[RunHandle, RunHandle]
) -> None:
    morning_after = FIRST_LIVE_DAY + timedelta(days=LIVE_DAYS, hours=2)
    found = monitor_entity(ENTITY, systems=systems.pipeline, now=morning_after)
    figures = {run.run_id: _verdicts(systems, run.run_id, "forecast") for run in controls}
    beside = {run.run_id: _verdicts(systems, run.run_id, "split")["win_rate"].verdict for run in controls}

    kept = {run_id: live.truth[run_id].win_rate / found["win_rate"].expected for run_id, found in figures.items()}
    loser, winner = sorted(kept, key=kept.get)
    assert (winner, kept[loser] < 0.8 * kept[winner]) == (RUN, True), "the market is made so that the truth is clear"

    for run_id, verdicts in figures.items():
        win_rate = verdicts["win_rate"]
        assert win_rate.live_low < live.truth[run_id].win_rate < win_rate.live_high
        assert verdicts["cpm"].live == pytest.approx(live.truth[run_id].cpm, rel=0.05)
        assert win_rate.days == LIVE_DAYS
    assert (beside[winner], beside[loser]) == ("on target", "below target")
    assert any(
        f"run {loser} (20 % of the traffic) is below its control, run {winner}" in alert for alert in found["alerts"]
    )
    assert not any(alert.startswith(f"entity {ENTITY}: run {winner}") for alert in found["alerts"])


def _verdicts(systems: StorySystems, run_id: str, compared_with: str) -> dict[str, LiveVerdict]:
    found = live_records.read_verdicts(systems.engines[UI], ENTITY)
    return {row.figure: row for row in found if (row.run_id, row.compared_with) == (run_id, compared_with)}
