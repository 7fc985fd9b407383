"""Back to the split before, on every database; and a run that is tried on a part of the traffic."""

from datetime import timedelta

import pytest
from control_plane.catalog import NOW, complete_sample
from sqlalchemy import insert, update

from optimizer.control_plane import tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.canary_splits import start_canary
from optimizer.control_plane.deployment_history import read_active, read_history, read_splits
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.rollbacks import plan_rollback, restore_split, rollback
from optimizer.control_plane.splits import percents_of
from optimizer.core.live.canary_plan import read_plan
from optimizer.errors import DeploymentError, PromotionRefused, SplitChanged

ENTITY = "drugs_hcp"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def runs(engine) -> list[str]:
    return [complete_sample(engine, name, now=NOW + number * MINUTE) for number, name in enumerate("abc")]


def set_split(engine, split, *, minute: int, by: str = "anna"):
    return deploy(engine, entity_code=ENTITY, split=split, author=Author(by), now=NOW + minute * MINUTE)


def back(engine, *, minute: int = 50, **fields) -> dict[str, int]:
    moment = NOW + minute * MINUTE
    return percents_of(rollback(engine, entity_code=ENTITY, author=Author("ben"), now=moment, **fields))


def test_a_rollback_restores_split_and_active_run_and_the_next_one_goes_further(engine, runs):
    a, b, c = runs
    for minute, split in enumerate(({a: 100}, {a: 40, b: 60}, {c: 100})):
        set_split(engine, split, minute=minute)
    assert back(engine) == {a: 40, b: 60}
    assert read_definition(engine, ENTITY).entity.active_run_id == b
    assert back(engine, minute=51) == {a: 100}
    with pytest.raises(DeploymentError, match="there is no earlier split to go back to"):
        back(engine, minute=52)
    newest = [(dict(split.percents), split.deployed_by) for split in read_splits(engine, ENTITY)]
    assert newest[:2] == [({a: 100}, "ben"), ({a: 40, b: 60}, "ben")] and len(newest) == 5


def test_a_split_that_may_not_be_deployed_any_more_is_passed_over_with_the_reason(engine, runs):
    a, b, c = runs
    for minute, split in enumerate(({a: 100}, {b: 100}, {c: 100})):
        set_split(engine, split, minute=minute)
    with transaction(engine) as connection:
        of_b = update(tables.runs).where(tables.runs.c.run_id == b)
        connection.execute(of_b.values(validation_status="failed"))
    plan = plan_rollback(engine, ENTITY)
    assert plan.split == {a: 100}
    (reason,) = plan.skipped
    assert reason.startswith("the split of 2026-02-03 15:01:00 UTC is passed over")
    assert f"run {b} has validation_status failed" in reason
    assert back(engine) == {a: 100}


def test_a_split_of_the_uis_own_sql_that_does_not_sum_to_100_is_shown_and_passed_over(engine, runs):
    a, b, c = runs
    set_split(engine, {a: 100}, minute=0)
    with transaction(engine) as connection:
        connection.execute(update(tables.deployments).values(is_active=False, deactivated_at=NOW + MINUTE))
        row = {"entity_id": 1, "deployed_by": "ui", "deployed_at": NOW + MINUTE}
        connection.execute(
            insert(tables.deployments),
            [{**row, "run_id": b, "traffic_pct": 50}, {**row, "run_id": c, "traffic_pct": 30}],
        )
    assert [split.total_pct for split in read_splits(engine, ENTITY)] == [80, 100]
    set_split(engine, {c: 100}, minute=2)
    assert "the percents sum to 80" in plan_rollback(engine, ENTITY).skipped[0]
    assert back(engine) == {a: 100}


def test_a_rollback_decided_on_another_split_than_the_present_one_is_refused(engine, runs):
    a, b, c = runs
    set_split(engine, {a: 100}, minute=0)
    seen = [row.deployment_id for row in set_split(engine, {b: 100}, minute=1)]
    set_split(engine, {c: 100}, minute=2, by="cleo")
    before = read_history(engine, ENTITY)
    with pytest.raises(SplitChanged, match=f"changed meanwhile to run {c} 100 % by cleo; look at it"):
        back(engine, seen=seen)
    assert read_history(engine, ENTITY) == before


def test_pressing_twice_on_what_one_saw_goes_back_once(engine, runs):
    a, b, c = runs
    for minute, split in enumerate(({a: 100}, {b: 100}, {c: 100})):
        active = set_split(engine, split, minute=minute)
    seen = [row.deployment_id for row in active]
    assert back(engine, seen=seen) == {b: 100}
    with pytest.raises(SplitChanged):
        back(engine, seen=seen)
    assert percents_of(read_active(engine, ENTITY)) == {b: 100}


def test_a_change_that_another_user_made_first_is_not_made_again(engine, runs):
    a, b, _ = runs
    for minute, split in enumerate(({a: 100}, {b: 100})):
        active = set_split(engine, split, minute=minute)
    seen = [row.deployment_id for row in active]
    back(engine)
    with pytest.raises(SplitChanged, match=f"was changed meanwhile to run {a} 100 %"):
        restore_split(engine, entity_code=ENTITY, split={a: 100}, author=Author("b"), now=NOW, seen=seen)


def test_an_unknown_entity_has_nothing_to_roll_back(engine):
    for call in (plan_rollback, lambda engine, code: rollback(engine, entity_code=code, author=Author("a"), now=NOW)):
        with pytest.raises(DeploymentError, match="'nobody' is not in opt_entities"):
            call(engine, "nobody")


def try_run(engine, run_id: str, *, minute: int = 10, canary_pct: int = 10) -> dict[str, int]:
    moment = NOW + minute * MINUTE
    plan = read_plan(str(canary_pct))
    tried = start_canary(engine, Promotion(run_id), entity_code=ENTITY, canary_plan=plan, now=moment)
    return percents_of(tried)


def test_a_canary_gets_its_share_and_the_active_run_stays_the_active_one(engine, runs):
    a, b, _ = runs
    set_split(engine, {a: 100}, minute=0)
    assert try_run(engine, b) == {a: 90, b: 10}
    assert read_definition(engine, ENTITY).entity.active_run_id == a
    assert read_splits(engine, ENTITY)[0].canary_run_id == b
    assert try_run(engine, b, minute=11, canary_pct=30) == {a: 90, b: 10}, "a retry changes nothing"
    assert back(engine) == {a: 100}


def test_the_first_run_of_an_entity_is_not_tried_but_live(engine, runs):
    assert try_run(engine, runs[0]) == {runs[0]: 100}
    assert try_run(engine, runs[1], minute=11) == {runs[0]: 90, runs[1]: 10}


def test_while_one_run_is_tried_no_other_is(engine, runs):
    a, b, c = runs
    set_split(engine, {a: 100}, minute=0)
    try_run(engine, b)
    with pytest.raises(PromotionRefused, match=f"run {c} does not go live automatically: run {b} is being tried"):
        try_run(engine, c, minute=11)
    set_split(engine, {b: 100}, minute=12)
    later = complete_sample(engine, "later", now=NOW + 13 * MINUTE)
    assert try_run(engine, later, minute=14) == {b: 90, later: 10}


def test_a_canary_gives_way_to_what_a_user_did_since_the_run_began(engine, runs):
    a, b, _ = runs
    set_split(engine, {a: 100}, minute=5)
    with pytest.raises(PromotionRefused, match=f"anna deployed run {a} to 100 % of the traffic after this run began"):
        try_run(engine, b)
