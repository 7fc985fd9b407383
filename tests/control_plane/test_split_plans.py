"""What the split page reads and how its changes are refused: plans, choices, the past; on every database."""

from datetime import timedelta

import pytest
from control_plane.catalog import NOW, complete_sample
from sqlalchemy import update

from optimizer.control_plane import canaries, tables
from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.canary_splits import pause_canary, start_canary
from optimizer.control_plane.deployable_runs import list_deployable
from optimizer.control_plane.deployment_history import read_active, read_first_at, read_history, read_split_at
from optimizer.control_plane.deployments import SplitTerms, deploy, set_control, set_pinned
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.split_plans import plan_split
from optimizer.control_plane.splits import percents_of
from optimizer.core.live.canary_plan import read_plan
from optimizer.errors import DeploymentError, SplitChanged

ENTITY = "drugs_hcp"
ANNA = Author("anna", comment="as agreed")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def runs(engine) -> list[str]:
    return [complete_sample(engine, name, now=NOW + number * MINUTE) for number, name in enumerate("abc")]


def set_split(engine, split, *, minute: int = 10, **terms):
    now = NOW + minute * MINUTE
    return deploy(engine, entity_code=ENTITY, split=split, author=ANNA, now=now, terms=SplitTerms(**terms))


def spoil(engine, run_id: str, **values) -> None:
    with transaction(engine) as connection:
        connection.execute(update(tables.runs).where(tables.runs.c.run_id == run_id).values(**values))


def test_a_plan_is_what_the_deployment_then_does_with_the_controls_share_in_it(engine, runs):
    a, b, c = runs
    set_split(engine, {a: 100})
    set_control(engine, entity_code=ENTITY, run_id=c, author=ANNA, now=NOW)
    plan = plan_split(engine, ENTITY, {a: 80, b: 20}, control_pct=5)
    assert plan.split == {a: 76, b: 19, c: 5}
    assert percents_of(plan.active) == {a: 100} and plan.control_run_id == c and plan.problems == ()
    assert set(plan.runs) == {a, b, c}
    seen = [row.deployment_id for row in plan.active]
    assert percents_of(set_split(engine, {a: 80, b: 20}, control_pct=5, seen=seen)) == plan.split


def test_a_plan_names_what_the_deployment_would_refuse(engine, runs):
    a, b, _ = runs
    foreign = complete_sample(engine, "foreign", entity_id=2, entity_code="drugs_com", dag_id="optimize__drugs_com")
    spoil(engine, b, validation_status="failed")
    problems = plan_split(engine, ENTITY, {a: 50, b: 30, foreign: 10}, control_pct=5).problems
    assert [problem.split(";")[0] for problem in problems] == [
        "the percents sum to 90",
        f"run {b} has validation_status failed",
        f"run {foreign} is a run of another entity",
    ]
    assert foreign not in plan_split(engine, ENTITY, {foreign: 100}, control_pct=0).runs
    assert "it names no run" in plan_split(engine, ENTITY, {}, control_pct=5).problems[0]


def test_the_newest_runs_with_files_are_listed_and_those_asked_for(engine, runs):
    a, b, c = runs
    failed = complete_sample(engine, "failed", validation_status="failed", now=NOW + 4 * MINUTE)
    complete_sample(engine, "foreign", entity_id=2, entity_code="drugs_com", dag_id="optimize__drugs_com")
    spoil(engine, b, outputs_removed_at=NOW)
    found = list_deployable(engine, ENTITY, limit=1)
    assert ([run.run_id for run in found.runs], found.total) == ([c], 2)
    found = list_deployable(engine, ENTITY, limit=1, always=[a])
    assert [run.run_id for run in found.runs] == [c, a]
    assert failed not in [run.run_id for run in list_deployable(engine, ENTITY, limit=10).runs]


def test_runs_are_found_by_a_part_of_their_id_and_signs_of_like_are_text(engine, runs):
    part = runs[1][-3:]
    assert [run.run_id for run in list_deployable(engine, ENTITY, search=part).runs] == [runs[1]]
    assert list_deployable(engine, ENTITY, search="%").total == 0
    assert list_deployable(engine, ENTITY, search="'; --").total == 0


def test_what_was_live_at_a_moment_is_the_split_between_its_deployment_and_the_next(engine, runs):
    a, b, _ = runs
    assert (read_split_at(engine, ENTITY, NOW), read_first_at(engine, ENTITY)) == (None, None)
    set_split(engine, {a: 100}, minute=10)
    set_split(engine, {a: 60, b: 40}, minute=20)
    assert read_first_at(engine, ENTITY) == NOW + 10 * MINUTE
    at = [read_split_at(engine, ENTITY, NOW + minute * MINUTE) for minute in (9, 10, 19, 20, 99)]
    assert [split and dict(split.percents) for split in at] == [
        None,
        {a: 100},
        {a: 100},
        {a: 60, b: 40},
        {a: 60, b: 40},
    ]
    assert (at[2].deployed_by, at[2].ended_at, at[4].is_active) == ("anna", NOW + 20 * MINUTE, True)
    assert read_split_at(engine, "drugs_com", NOW + 99 * MINUTE) is None


def test_a_pin_decided_on_another_split_is_refused_and_pins_nothing(engine, runs):
    a, b, _ = runs
    seen = [row.deployment_id for row in set_split(engine, {a: 100})]
    set_split(engine, {b: 100}, minute=11)
    with pytest.raises(SplitChanged, match=f"changed meanwhile to run {b} 100 % by anna"):
        set_pinned(engine, entity_code=ENTITY, is_pinned=True, author=ANNA, now=NOW, seen=seen)
    assert [row.is_pinned for row in read_active(engine, ENTITY)] == [False]


def test_a_control_chosen_after_another_user_chose_one_is_refused(engine, runs):
    a, b, _ = runs
    set_control(engine, entity_code=ENTITY, run_id=a, author=ANNA, now=NOW, seen=[])
    for run_id in (b, None):
        with pytest.raises(SplitChanged, match=f"its control was changed meanwhile to {a}"):
            set_control(engine, entity_code=ENTITY, run_id=run_id, author=ANNA, now=NOW, seen=[])
    assert read_definition(engine, ENTITY).entity.control_run_id == a
    set_control(engine, entity_code=ENTITY, run_id=None, author=ANNA, now=NOW, seen=[a])
    with pytest.raises(SplitChanged, match="changed meanwhile to none"):
        set_control(engine, entity_code=ENTITY, run_id=b, author=ANNA, now=NOW, seen=[a])


def test_a_pause_of_a_canary_that_was_replaced_meanwhile_is_refused(engine, runs):
    a, b, c = runs
    set_split(engine, {a: 100}, minute=-9999)
    start_canary(engine, Promotion(b), entity_code=ENTITY, canary_plan=read_plan("5@1d, 100"), now=NOW + 20 * MINUTE)
    with pytest.raises(SplitChanged, match=f"canary of run {c} was ended meanwhile, run {b} is being tried"):
        pause_canary(engine, entity_code=ENTITY, author=ANNA, now=NOW, run_id=c)
    assert pause_canary(engine, entity_code=ENTITY, author=ANNA, now=NOW, run_id=b).status == "paused"
    set_split(engine, {a: 100}, minute=30)
    with pytest.raises(SplitChanged, match="no run is being tried"):
        pause_canary(engine, entity_code=ENTITY, author=ANNA, now=NOW, run_id=b)
    assert (canaries.read_open(engine, ENTITY), canaries.read_last(engine, ENTITY).run_id) == (None, b)
    assert canaries.read_last(engine, "drugs_com") is None


def test_nothing_is_written_by_a_plan(engine, runs):
    before = (read_history(engine, ENTITY), read_audit(engine, ENTITY))
    plan_split(engine, ENTITY, {runs[0]: 100}, control_pct=5)
    with pytest.raises(DeploymentError, match="'nobody' is not in opt_entities"):
        plan_split(engine, "nobody", {}, control_pct=5)
    assert (read_history(engine, ENTITY), read_audit(engine, ENTITY)) == before
