"""Fifty races of the monitor against a person, on a real MariaDB: the split is always one that was chosen.

Both start at the same moment, each after a small random delay, on what the monitor had looked at before.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import numpy as np
import pytest
from control_plane.catalog import NOW, complete_sample, fill_catalog
from control_plane.databases import DRIVERS
from sqlalchemy import Engine, select

from optimizer.control_plane import canaries
from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.canary_splits import abort_canary, move_canary, pause_canary, start_canary
from optimizer.control_plane.deployment_history import read_active, read_history
from optimizer.control_plane.deployments import deploy, promote, set_control
from optimizer.control_plane.engine import open_engine, reading
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.records import Canary
from optimizer.control_plane.rollbacks import rollback
from optimizer.control_plane.runs import read_run_by_dag_run
from optimizer.control_plane.splits import group_splits, percents_of
from optimizer.control_plane.tables import canaries as canary_rows
from optimizer.core.live.canary_plan import read_plan
from optimizer.errors import DeploymentError, PromotionRefused, SplitChanged

RACES, MOST_DELAY_S = 50, 0.004
ENTITY, ANNA = "drugs_hcp", Author("anna")
BEFORE, TRIED, CONTROL = {"main": 95, "control": 5}, {"main": 75, "tried": 20, "control": 5}, "control"
CHOSEN = {
    "abort": BEFORE,
    "rollback": BEFORE,
    "deploy": {"main": 50, "tried": 50},
    "pause": TRIED,
    "step": {"main": 45, "tried": 50, "control": 5},
    "promote": {"tried": 95, "control": 5},
}
"""Who won: the split. A pause keeps the split that it found."""


def complete_once(engine: Engine, name: str, *, now: datetime) -> str:
    """Return the run of this name and moment, which is completed where an earlier race has not done it."""
    dag_run_id = f"{name} {now}"
    found = read_run_by_dag_run(engine, dag_id="optimize__drugs_hcp", dag_run_id=dag_run_id)
    return complete_sample(engine, dag_run_id, now=now) if found is None else found.run_id


class Race:
    """An entity with a canary at its first step, and what each side does to it."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine, self.now = engine, NOW + timedelta(days=1 + number)
        self.at = {"entity_code": ENTITY, "now": self.now}
        moments = {"control": NOW, "main": NOW + timedelta(hours=1), "tried": NOW + timedelta(days=number, hours=2)}
        self.runs = {name: complete_once(engine, name, now=at) for name, at in moments.items()}
        self.names = {run_id: name for name, run_id in self.runs.items()}
        set_control(engine, run_id=self.runs[CONTROL], author=ANNA, **self.at)
        before = NOW + timedelta(days=number, minutes=90)
        deploy(engine, entity_code=ENTITY, split=self.split_of(BEFORE), author=ANNA, now=before)
        start_canary(
            engine,
            Promotion(self.runs["tried"]),
            entity_code=ENTITY,
            canary_plan=read_plan("20@1d, 50@1d, 100"),
            now=self.now + timedelta(seconds=1),
        )
        self.canary = canaries.read_open(engine, ENTITY)
        self.seen = [row.deployment_id for row in read_active(engine, ENTITY)]
        self.audited = len(read_audit(engine, ENTITY, limit=10_000))

    def split_of(self, shares: dict[str, int]) -> dict[str, int]:
        return {self.runs[name]: pct for name, pct in shares.items()}

    def step(self) -> None:
        self._move(2)

    def promote(self) -> None:
        self._move(None)

    def _move(self, to_step: int | None) -> None:
        assert self.canary is not None
        later = {"entity_code": ENTITY, "now": self.now + timedelta(days=1), "seen": self.seen}
        move_canary(self.engine, self.canary, to_step=to_step, **later)

    def abort(self) -> None:
        abort_canary(self.engine, run_id=self.runs["tried"], author=ANNA, **self.at)

    def rollback(self) -> None:
        rollback(self.engine, author=ANNA, seen=self.seen, **self.at)

    def deploy(self) -> None:
        deploy(self.engine, split=self.split_of(CHOSEN["deploy"]), author=ANNA, **self.at)

    def pause(self) -> None:
        pause_canary(self.engine, author=ANNA, **self.at)

    def active(self) -> dict[str, int]:
        return {self.names[run_id]: pct for run_id, pct in percents_of(read_active(self.engine, ENTITY)).items()}

    def canary_now(self) -> Canary:
        """The canary of this race, open or ended."""
        with reading(self.engine) as connection:
            found = connection.execute(select(canary_rows).order_by(canary_rows.c.canary_id.desc()).limit(1)).mappings()
            return Canary.model_validate(dict(found.one()))


@pytest.fixture(params=DRIVERS)
def engine(url_of: Callable[[str], str], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Return an engine on MariaDB, and MySQL: SQLite lets one writer in at a time, so there is no race."""
    engine = open_engine(url_of(request.param))
    fill_catalog(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def together() -> Iterator[Callable[..., tuple[bool, ...]]]:
    """Return what does several things at once and returns whether each was done or refused."""
    with ThreadPoolExecutor(2) as pool:

        def run(*actions: Callable[[], None], chance: np.random.Generator) -> tuple[bool, ...]:
            barrier = Barrier(len(actions))

            def start(action: Callable[[], None], delay_s: float) -> bool:
                barrier.wait(timeout=30)
                time.sleep(delay_s)
                try:
                    action()
                except (SplitChanged, DeploymentError, PromotionRefused):
                    return False
                return True

            started = [pool.submit(start, action, chance.uniform(0, MOST_DELAY_S)) for action in actions]
            return tuple(future.result(timeout=60) for future in started)

        yield run


def test_in_fifty_races_of_the_monitor_and_a_person_the_split_is_one_that_one_of_them_chose(
    engine: Engine, together: Callable[..., tuple[bool, ...]]
):
    chance, outcomes = np.random.default_rng(1), Counter()
    for number in range(RACES):
        race = Race(engine, number)
        by_system = ("step", "promote")[number % 2]
        by_person = ("abort", "pause", "rollback", "deploy")[number // 2 % 4]
        is_moved, is_obeyed = together(getattr(race, by_system), getattr(race, by_person), chance=chance)
        outcomes[by_person, is_moved, is_obeyed] += 1
        check_race(race, by_system=by_system, by_person=by_person, is_moved=is_moved, is_obeyed=is_obeyed)
    assert not any(not is_moved and not is_obeyed for _, is_moved, is_obeyed in outcomes), outcomes
    assert {is_moved for _, is_moved, _ in outcomes} == {False, True}, "each side came first in some of the races"


def check_race(race: Race, *, by_system: str, by_person: str, is_moved: bool, is_obeyed: bool) -> None:
    active, canary = race.active(), race.canary_now()
    # A person who comes second replaces what the monitor chose; a pause leaves it.
    last = by_person if is_obeyed and not (is_moved and by_person == "pause") else by_system
    assert sum(active.values()) == 100 and active == CHOSEN[last], (by_system, by_person, is_moved, is_obeyed)
    if by_person in ("abort", "deploy"):
        assert is_obeyed, "an abort or a split of a person's own is never refused"
    with reading(race.engine) as connection:
        is_open = canary_rows.c.ended_at.is_(None)
        open_now = connection.execute(select(canary_rows.c.run_id).where(is_open)).scalars().all()
    is_tried = last in ("pause", "step")
    assert open_now == ([race.runs["tried"]] if is_tried else [])
    if is_obeyed and by_person == "pause":
        assert canary.status == "paused" and by_system != "promote" * is_moved
    history = read_history(race.engine, ENTITY, limit=1000)
    assert {split.total_pct for split in group_splits(history)} == {100}
    assert len([row for row in history if row.is_active]) == len(active)
    largest = max(active, key=lambda name: (active[name], race.runs[name]))
    assert read_definition(race.engine, ENTITY).entity.active_run_id == race.runs[largest]
    written = read_audit(race.engine, ENTITY, limit=10_000)[: -race.audited]
    assert Counter(row.actor for row in written) == Counter([*["airflow:monitor"] * is_moved, *["anna"] * is_obeyed]), (
        "each change leaves a row that names who made it"
    )


def test_a_canary_that_is_paused_is_never_moved(engine: Engine):
    race = Race(engine, 0)
    race.pause()
    for action in (race.step, race.promote):
        with pytest.raises(SplitChanged, match="is paused at step 1 by anna"):
            action()
    assert race.active() == TRIED


def test_two_monitors_at_once_move_a_canary_by_one_step(engine: Engine, together: Callable[..., tuple[bool, ...]]):
    chance = np.random.default_rng(2)
    for number in range(10):
        race = Race(engine, number)
        assert sorted(together(race.step, race.step, chance=chance)) == [False, True]
        assert race.active() == CHOSEN["step"] and race.canary_now().step == 2
        assert together(race.abort, race.abort, chance=chance) == (True, True)
        assert race.active() == BEFORE, "the second abort does not go further back"


def test_a_scheduled_promotion_never_replaces_a_split_that_a_person_sets_at_the_same_moment(
    engine: Engine, together: Callable[..., tuple[bool, ...]]
):
    chance = np.random.default_rng(3)
    for number in range(10):
        race = Race(engine, number)
        race.abort()
        run_id = complete_sample(engine, f"next {number}", now=race.now)
        race.names[run_id] = "next"
        promotion = Promotion(run_id, control_pct=5, manual_split_days=3)
        later = {"entity_code": ENTITY, "now": race.now + timedelta(days=9)}

        def schedule(promotion: Promotion = promotion, later: dict = later) -> None:
            promote(engine, promotion, author=Author("airflow:test", is_person=False), **later)

        def choose(race: Race = race, later: dict = later) -> None:
            deploy(engine, split=race.split_of(CHOSEN["deploy"]), author=ANNA, **later)

        together(schedule, choose, chance=chance)
        assert race.active() == CHOSEN["deploy"]
