"""Going live safely, on real servers: a first run beside its control, over a ramp, to savings in money.

A bidder that does not refresh stops the ramp, and the spend guard takes off a run that bids three times too much. What
Airflow's tasks do is done here by the same functions without it; tests/orchestration shows that it calls them.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from control_plane.statements import read_printed
from pipeline.driver import ENTITY, Pipeline
from pipeline.trained import train_once
from story.market import Bidder, LiveDays, SimulatedMarket
from story.systems import APP, BIDDER, UI, StorySystems

from lab.market.outcome import ExpectedOutcome
from lab.stack.warehouse_loading import load_parquet
from optimizer.bidder.openrtb import OpenRtb, read_mapping
from optimizer.bidder.refreshing import Refresher, require_success
from optimizer.bidder.service import BidderService
from optimizer.control_plane import deployment_history, deployments, live_records
from optimizer.control_plane.alerts import read_open
from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.live_rows import LiveSavings
from optimizer.control_plane.splits import percents_of
from optimizer.deployment.monitor import monitor_entity

ENTITY_VALUES = {
    "promotion": "canary",
    "canary_plan": "20@1d, 50@1d, 100",
    "control_pct": "20",
    "lookback_days": "28",
}
"""A run is tried in two steps. The control is large, because the market is small."""

JITTER_SD = 0.25
"""By how much the bids of the history varied at random, as a share of them: the first run knows what a bid wins."""

UI_SQL = read_printed("example_flow.sql")
PRINTED_RUN, PRINTED_TARGET, TARGET = "20260203_150000", "'0.65'", "'0.25'"
RUN, NEXT = "20260203_150000", "20260208_180000"
CONTROL = f"control_{RUN}"
LEARNED, LEARNED_NEXT = datetime(2026, 2, 3, 15, tzinfo=UTC), datetime(2026, 2, 8, 18, tzinfo=UTC)
ANNA = Author("anna", comment="a first look at the new run")


@dataclass
class Story:
    """The systems, the market, and what the days have brought so far: by day, what each run's bids were truly worth."""

    systems: StorySystems
    market: SimulatedMarket
    folder: Path
    refresher: Refresher
    truth: dict[date, dict[str, ExpectedOutcome]] = field(default_factory=dict)

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.systems.pipeline, run_training=partial(train_once, self.folder))

    def active(self) -> dict[str, int]:
        return percents_of(deployment_history.read_active(self.systems.engines[APP], ENTITY))

    def alerts(self) -> list[str]:
        return [row.kind for row in read_open(self.systems.engines[UI], ENTITY)]

    def refresh(self) -> None:
        """The bidder loads what is deployed."""
        require_success(self.refresher.refresh())

    def bid(self, *days: int, fault: Callable[[Bidder], Bidder] = lambda bidder: bidder) -> None:
        """The bidder answers the auctions of these days of February, and their events reach the warehouse."""
        with asyncio.Runner() as loop:
            bidder = fault(_answering(BidderService(self.refresher), loop=loop))
            for day in days:
                live = self.market.hold_auctions(bidder, start_day=date(2026, 2, day), days=1)
                self.truth[date(2026, 2, day)] = live.truth
                self._load(live, name=str(day))
            loop.run(self.systems.memcached.reader.close())

    def look(self, day: int) -> dict[str, Any]:
        """The monitor looks in the morning of this day."""
        return monitor_entity(ENTITY, systems=self.systems.pipeline, now=datetime(2026, 2, day, 2, 30, tzinfo=UTC))

    def savings(self) -> dict[str, LiveSavings]:
        """What the monitor measured last, by period."""
        return {row.period: row for row in live_records.read_savings(self.systems.engines[UI], ENTITY)}

    def true_spend(self, period: LiveSavings) -> float:
        """What the runs but the control spend in the period in expectation, currency units."""
        return sum(own.cost for own, _ in self._outcomes(period))

    def true_savings(self, period: LiveSavings) -> float:
        """What their wins cost at the control's CPM of each day, less what they cost, in expectation."""
        return sum(own.wins * control.cpm / 1000 - own.cost for own, control in self._outcomes(period))

    def _outcomes(self, period: LiveSavings) -> Iterator[tuple[ExpectedOutcome, ExpectedOutcome]]:
        """Of each day of the period and each run but the control: its outcome, and the control's."""
        for day, by_run in self.truth.items():
            if period.first_day <= day <= period.last_day:
                yield from ((own, by_run[CONTROL]) for run_id, own in by_run.items() if run_id != CONTROL)

    def _load(self, live: LiveDays, *, name: str) -> None:
        files = live.events.write_parquet(self.folder / name)
        with self.systems.connect_warehouse() as connection:
            for table, file in files.items():
                load_parquet(connection, table=table.upper(), files=[file])


@pytest.fixture(scope="module")
def story(story_systems: StorySystems, market: SimulatedMarket, tmp_path_factory: pytest.TempPathFactory) -> Story:
    engine, store, memcached = story_systems.engines[BIDDER], story_systems.store, story_systems.memcached
    refresher = Refresher(engine=engine, store=store, memcached=memcached, entity_codes=[ENTITY])
    return Story(story_systems, market, tmp_path_factory.mktemp("live"), refresher)


def test_a_first_run_is_tried_beside_its_control_stopped_by_faults_and_saves_what_the_truth_says(story: Story):
    a_first_run_learns_and_starts_beside_the_control(story)
    after_a_day_it_gets_half_of_the_traffic(story)
    a_bidder_that_did_not_refresh_stops_the_ramp(story)
    once_it_has_refreshed_the_run_is_on_target_and_gets_all_but_the_controls_share(story)
    what_it_saved_is_measured_in_money_and_the_interval_holds_the_truth(story)
    a_run_that_bids_three_times_too_much_is_taken_off_the_next_morning(story)
    what_that_day_cost_is_in_the_savings(story)


def a_first_run_learns_and_starts_beside_the_control(story: Story) -> None:
    run = _learn(story, RUN, now=LEARNED)
    promoted = story.pipeline.promote(run, now=LEARNED + timedelta(hours=3))
    assert promoted["split"] == story.active() == {CONTROL: 80, RUN: 20}
    rows = {row.run_id: row.source for row in deployment_history.read_active(story.systems.engines[UI], ENTITY)}
    assert rows == {CONTROL: "control", RUN: "canary"}


def after_a_day_it_gets_half_of_the_traffic(story: Story) -> None:
    story.refresh()
    story.bid(4)
    (action,) = story.look(5)["actions"]
    assert "has had step 1 of 2" in action
    assert story.active() == {CONTROL: 50, RUN: 50} and story.alerts() == []


def a_bidder_that_did_not_refresh_stops_the_ramp(story: Story) -> None:
    story.bid(5)
    found = story.look(6)
    assert story.alerts() == ["split_mismatch"] and found["actions"] == []
    (alert,) = found["alerts"]
    assert "the bidder has not loaded the split; check `/health` of every bidder" in alert
    assert f"run {RUN} was deployed with 50 % and has" in alert
    assert story.active() == {CONTROL: 50, RUN: 50}


def once_it_has_refreshed_the_run_is_on_target_and_gets_all_but_the_controls_share(story: Story) -> None:
    story.refresh()
    story.bid(6)
    found = story.look(7)
    assert found["alerts"] == [] and len(found["closed"]) == 1 and story.alerts() == []
    (action,) = found["actions"]
    assert f"run {RUN}, tried on 50 % of the traffic, is on target" in action
    assert story.active() == {RUN: 80, CONTROL: 20}


def what_it_saved_is_measured_in_money_and_the_interval_holds_the_truth(story: Story) -> None:
    story.refresh()
    story.bid(7, 8)
    assert (found := story.look(9))["alerts"] == [] and sum("saved on" in line for line in found["runs"]) == 3
    savings = story.savings()
    whole = savings["since_start"]
    assert (whole.run_id, whole.first_day, whole.last_day) == (CONTROL, date(2026, 2, 4), date(2026, 2, 8))
    for period in savings.values():
        assert period.policy_spend == pytest.approx(story.true_spend(period), rel=0.15)
    truth = story.true_savings(whole)
    assert whole.saved_low < truth < whole.saved_high < 0, "it wins more than the control, and pays more for a win"
    assert abs(whole.saved - truth) < 0.1 * whole.policy_spend


def a_run_that_bids_three_times_too_much_is_taken_off_the_next_morning(story: Story) -> None:
    _learn(story, NEXT, now=LEARNED_NEXT)
    _deploy(story, {RUN: 80, NEXT: 20}, now=LEARNED_NEXT + timedelta(hours=4))
    assert story.active() == {RUN: 64, NEXT: 16, CONTROL: 20}
    story.refresh()
    story.bid(9, fault=lambda bidder: _tripled(bidder, NEXT))
    found = story.look(10)
    assert story.alerts() == ["spend_guard"] and story.active() == {RUN: 80, CONTROL: 20}
    (alert,) = found["alerts"]
    assert f"run {NEXT} (16 % of the traffic) had a" in alert and "The last good split is live again" in alert
    newest = read_audit(story.systems.engines[UI], ENTITY)[0]
    assert (newest.actor, newest.action) == ("airflow:monitor", "rollback")
    assert newest.comment.startswith(f"spend guard: run {NEXT}")


def what_that_day_cost_is_in_the_savings(story: Story) -> None:
    yesterday = story.savings()["yesterday"]
    assert yesterday.first_day == yesterday.last_day == date(2026, 2, 9)
    assert yesterday.saved == pytest.approx(story.true_savings(yesterday), rel=0.3)
    assert yesterday.saved < -0.5 * yesterday.policy_spend


def _learn(story: Story, run_id: str, *, now: datetime) -> Any:
    with transaction(story.systems.engines[UI]) as connection:
        for name in ("ui_inserts_run", "ui_inserts_run_configs"):
            statement = UI_SQL[name].replace(PRINTED_RUN, run_id).replace(PRINTED_TARGET, TARGET)
            connection.exec_driver_sql(statement)
    run = story.pipeline.complete(f"ui__{run_id}", now=now, run_id=run_id)
    assert story.pipeline.row(run).validation_status == "passed"
    return run


def _deploy(story: Story, split: dict[str, int], *, now: datetime) -> None:
    terms = deployments.SplitTerms(control_pct=int(ENTITY_VALUES["control_pct"]))
    at = {"entity_code": ENTITY, "author": ANNA, "now": now}
    deployments.deploy(story.systems.engines[APP], split=split, terms=terms, **at)


def _answering(service: BidderService, *, loop: asyncio.Runner) -> Bidder:
    openrtb = OpenRtb(read_mapping(), currency="USD")

    def answer(body: bytes) -> dict[str, Any] | None:
        request = openrtb.read(body)
        asked = [question.asked for question in request.questions]
        return openrtb.write(request, loop.run(service.fetch_and_price(asked, entity_code=ENTITY)))

    return answer


def _tripled(bidder: Bidder, run_id: str) -> Bidder:
    """A bidder that bids three times what the run published."""

    def answer(body: bytes) -> dict[str, Any] | None:
        response = bidder(body)
        for bid in () if response is None else response["seatbid"][0]["bid"]:
            if bid["ext"].get("run_id") == run_id:
                bid["ext"]["bid_cpm"] *= 3
        return response

    return answer
