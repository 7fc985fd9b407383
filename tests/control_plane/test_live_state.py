"""Roles, pins, the control, canaries and the audit, on every database."""

from datetime import timedelta

import pytest
from control_plane.catalog import NOW, complete_sample
from sqlalchemy import insert, text

from optimizer.control_plane import canaries, tables
from optimizer.control_plane.audit import Author, read_audit, system
from optimizer.control_plane.canary_splits import abort_canary, move_canary, pause_canary, start_canary
from optimizer.control_plane.deployment_history import read_active
from optimizer.control_plane.deployments import SplitTerms, deploy, promote, set_control, set_pinned
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.rollbacks import rollback
from optimizer.control_plane.schema import migrate, revert
from optimizer.control_plane.splits import percents_of
from optimizer.core.live.canary_plan import read_plan
from optimizer.errors import ConfigError, DeploymentError, PromotionRefused, SplitChanged

ENTITY, DAY = "drugs_hcp", timedelta(days=1)
ANNA = Author("anna", comment="as agreed")
PLAN = read_plan("5@1d, 20@2d, 50@2d, 100")


@pytest.fixture
def runs(engine) -> list[str]:
    return [complete_sample(engine, name, now=NOW + number * timedelta(minutes=1)) for number, name in enumerate("abc")]


def by_hand(engine, split, *, now=NOW, **terms):
    return deploy(engine, entity_code=ENTITY, split=split, author=ANNA, now=now, terms=SplitTerms(**terms))


def by_schedule(engine, run_id, *, now, **fields):
    promotion = Promotion(run_id, manual_split_days=3, **fields)
    return percents_of(promote(engine, promotion, entity_code=ENTITY, author=system("optimize__drugs_hcp"), now=now))


def try_run(engine, run_id, *, now, plan=PLAN):
    return percents_of(start_canary(engine, Promotion(run_id), entity_code=ENTITY, canary_plan=plan, now=now))


def step_to(engine, step, *, now, control_pct=5):
    canary = canaries.read_open(engine, ENTITY)
    seen = [row.deployment_id for row in read_active(engine, ENTITY)]
    at = {"entity_code": ENTITY, "now": now, "seen": seen, "control_pct": control_pct}
    return percents_of(move_canary(engine, canary, to_step=step, **at))


def test_runs_of_earlier_releases_get_the_checksum_of_their_manifest(engine, runs):
    with transaction(engine) as connection:
        row = {"output_type": "manifest", "s3_bucket": "b", "s3_key": "m", "sha256": "a" * 64, "run_id": runs[0]}
        connection.execute(insert(tables.run_outputs).values(row))
    revert(engine, revision="0004")
    migrate(engine)
    with reading(engine) as connection:
        found = dict(connection.execute(text("SELECT run_id, manifest_sha256 FROM opt_runs")).all())
    assert found == {runs[0]: "a" * 64, runs[1]: None, runs[2]: None}


def test_what_deployed_by_said_of_older_rows_is_a_column_now(engine, runs):
    revert(engine, revision="0004")
    names = ("anna", "airflow:optimize__drugs_hcp", f"airflow:canary {runs[0]}", "airflow:monitor auto_rollback")
    with transaction(engine) as connection:
        for number, name in enumerate(names):
            connection.execute(
                text(
                    "INSERT INTO opt_deployments (run_id, entity_id, traffic_pct, is_active, deployed_by) "
                    "VALUES (:run_id, 1, 100, 0, :name)"
                ),
                {"run_id": runs[number % 3], "name": name},
            )
    migrate(engine)
    with reading(engine) as connection:
        found = connection.execute(
            text("SELECT deployed_by, source, canary_run_id FROM opt_deployments ORDER BY deployment_id")
        ).all()
    assert [tuple(row) for row in found] == [
        (names[0], "manual", None),
        (names[1], "scheduled", None),
        (names[2], "canary", runs[0]),
        (names[3], "rollback", None),
    ]


def test_a_person_cannot_take_the_systems_name():
    with pytest.raises(ConfigError, match="'airflow:monitor' cannot be a person's name"):
        Author("airflow:monitor")


def test_a_split_set_by_hand_stays_for_its_days_and_then_scheduled_runs_replace_it(engine, runs):
    a, b, c = runs
    by_hand(engine, {a: 80, b: 20})
    with pytest.raises(PromotionRefused, match=r"anna set the split, .* for 3 days .*until 2026-02-06 15:00 UTC"):
        by_schedule(engine, c, now=NOW + 2 * DAY)
    assert by_schedule(engine, c, now=NOW + 3 * DAY) == {c: 100}
    assert [row.source for row in read_active(engine, ENTITY)] == ["scheduled"]


def test_a_pinned_split_is_not_replaced_until_it_is_unpinned(engine, runs):
    a, _, c = runs
    by_hand(engine, {a: 100}, is_pinned=True)
    with pytest.raises(PromotionRefused, match="anna pinned the split"):
        by_schedule(engine, c, now=NOW + 30 * DAY)
    set_pinned(engine, entity_code=ENTITY, is_pinned=False, author=ANNA, now=NOW + 30 * DAY)
    assert by_schedule(engine, c, now=NOW + 30 * DAY) == {c: 100}
    assert [row.action for row in read_audit(engine, ENTITY)] == ["promote", "unpin", "deploy"]


def test_the_split_that_is_active_already_can_be_pinned_by_deploying_it_again(engine, runs):
    first = by_hand(engine, {runs[0]: 100})
    (again,) = by_hand(engine, {runs[0]: 100}, is_pinned=True, now=NOW + DAY)
    assert (again.deployment_id, again.is_pinned) == (first[0].deployment_id, True)


def test_the_sql_of_a_ui_counts_as_a_persons(engine, runs):
    with transaction(engine) as connection:
        row = {"run_id": runs[0], "entity_id": 1, "traffic_pct": 100, "deployed_by": "airflow:monitor"}
        connection.execute(insert(tables.deployments).values(deployed_at=NOW, **row))
    with pytest.raises(PromotionRefused, match="airflow:monitor set the split"):
        by_schedule(engine, runs[2], now=NOW + DAY)


def test_the_control_keeps_its_share_whatever_is_deployed(engine, runs):
    a, b, c = runs
    set_control(engine, entity_code=ENTITY, run_id=a, author=ANNA, now=NOW)
    assert by_schedule(engine, b, now=NOW + DAY, control_pct=5) == {b: 95, a: 5}
    assert {row.run_id: (row.source, row.is_pinned) for row in read_active(engine, ENTITY)} == {
        b: ("scheduled", False),
        a: ("control", True),
    }
    assert try_run(engine, c, now=NOW + 2 * DAY) == {b: 90, c: 5, a: 5}
    assert percents_of(by_hand(engine, {b: 80, c: 20}, control_pct=5, now=NOW + 3 * DAY)) == {b: 76, c: 19, a: 5}
    assert percents_of(by_hand(engine, {b: 80, c: 20}, now=NOW + 4 * DAY)) == {b: 80, c: 20}


def test_a_first_run_is_tried_beside_the_control(engine, runs):
    set_control(engine, entity_code=ENTITY, run_id=runs[0], author=ANNA, now=NOW)
    assert try_run(engine, runs[1], now=NOW + DAY, plan=read_plan("10")) == {runs[0]: 90, runs[1]: 10}


def test_a_control_must_be_a_validated_run_of_the_entity(engine):
    failed = complete_sample(engine, "bad", validation_status="failed")
    with pytest.raises(DeploymentError, match=f"run {failed} has validation_status failed"):
        set_control(engine, entity_code=ENTITY, run_id=failed, author=ANNA, now=NOW)


def test_a_canary_goes_through_its_steps_to_all_the_traffic(engine, runs):
    a, b, _ = runs
    by_hand(engine, {a: 100}, now=NOW - DAY)
    assert try_run(engine, b, now=NOW) == {a: 95, b: 5}
    assert step_to(engine, 2, now=NOW + DAY) == {a: 80, b: 20}
    canary = canaries.read_open(engine, ENTITY)
    assert (canary.step, canary.status, canary.step_started_at) == (2, "running", NOW + DAY)
    assert step_to(engine, 3, now=NOW + 3 * DAY) == {a: 50, b: 50}
    assert step_to(engine, None, now=NOW + 5 * DAY) == {b: 100}
    assert canaries.read_open(engine, ENTITY) is None
    assert [row.source for row in read_active(engine, ENTITY)] == ["scheduled"]


@pytest.mark.parametrize(("control_pct", "live"), [(5, {"b": 95, "a": 5}), (0, {"b": 100})])
def test_a_first_run_that_is_tried_beside_the_control_gets_more_and_in_the_end_all_but_its_share(
    engine, runs, control_pct, live
):
    a, b, _ = runs
    set_control(engine, entity_code=ENTITY, run_id=a, author=ANNA, now=NOW)
    assert try_run(engine, b, now=NOW) == {a: 95, b: 5}
    assert step_to(engine, 2, now=NOW + DAY) == {a: 80, b: 20}
    assert step_to(engine, 3, now=NOW + 3 * DAY) == {a: 50, b: 50}
    named = {"a": a, "b": b}
    whole = step_to(engine, None, now=NOW + 5 * DAY, control_pct=control_pct)
    assert whole == {named[name]: pct for name, pct in live.items()}
    assert canaries.read_open(engine, ENTITY) is None


def test_a_step_of_a_first_run_leaves_the_control_its_share(engine, runs):
    a, b, _ = runs
    set_control(engine, entity_code=ENTITY, run_id=a, author=ANNA, now=NOW)
    try_run(engine, b, now=NOW, plan=read_plan("5@1d, 98@1d, 100"))
    assert step_to(engine, 2, now=NOW + DAY) == {b: 95, a: 5}


def test_a_first_run_that_is_aborted_leaves_all_traffic_to_the_control(engine, runs):
    a, b, _ = runs
    set_control(engine, entity_code=ENTITY, run_id=a, author=ANNA, now=NOW)
    try_run(engine, b, now=NOW)
    with pytest.raises(DeploymentError, match="there is no earlier split"):
        rollback(engine, entity_code=ENTITY, author=ANNA, now=NOW + DAY)
    active = abort_canary(engine, entity_code=ENTITY, run_id=b, author=ANNA, now=NOW + DAY)
    assert [(row.run_id, row.traffic_pct, row.source) for row in active] == [(a, 100, "control")]
    assert canaries.read_open(engine, ENTITY) is None


def test_a_paused_canary_stays_where_it_is_until_it_is_resumed(engine, runs):
    a, b, _ = runs
    by_hand(engine, {a: 100}, now=NOW - DAY)
    try_run(engine, b, now=NOW)
    seen = canaries.read_open(engine, ENTITY)
    pause_canary(engine, entity_code=ENTITY, author=ANNA, now=NOW)
    ids = [row.deployment_id for row in read_active(engine, ENTITY)]
    with pytest.raises(SplitChanged, match="is paused at step 1 by anna"):
        move_canary(engine, seen, entity_code=ENTITY, to_step=2, now=NOW + DAY, seen=ids)
    pause_canary(engine, entity_code=ENTITY, author=ANNA, now=NOW, is_paused=False)
    assert step_to(engine, 2, now=NOW + DAY) == {a: 80, b: 20}
    assert [row.action for row in read_audit(engine, ENTITY)][:3] == ["move_canary", "resume_canary", "pause_canary"]


@pytest.mark.parametrize(("percent", "status"), [(100, "promoted"), (None, "aborted")])
def test_what_a_person_deploys_ends_the_canary(engine, runs, percent, status):
    a, b, _ = runs
    by_hand(engine, {a: 100}, now=NOW - DAY)
    try_run(engine, b, now=NOW)
    if percent is None:
        rollback(engine, entity_code=ENTITY, author=ANNA, now=NOW + DAY)
    else:
        by_hand(engine, {b: percent}, now=NOW + DAY)
    assert canaries.read_open(engine, ENTITY) is None
    with reading(engine) as connection:
        ended = connection.execute(text("SELECT status, changed_by FROM opt_canaries")).all()
    assert [tuple(row) for row in ended] == [(status, "anna")]


def test_a_canary_that_a_uis_sql_took_off_keeps_no_later_run_from_being_tried(engine, runs):
    a, b, c = runs
    by_hand(engine, {a: 100}, now=NOW - DAY)
    try_run(engine, b, now=NOW)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE opt_deployments SET is_active = 0, deactivated_at = deployed_at"))
        row = {"run_id": a, "entity_id": 1, "traffic_pct": 100, "deployed_by": "ui"}
        connection.execute(insert(tables.deployments).values(deployed_at=NOW, **row))
    assert try_run(engine, c, now=NOW + DAY) == {a: 95, c: 5}
    assert canaries.read_open(engine, ENTITY).run_id == c


def test_each_write_leaves_a_row_that_says_who_from_what_to_what_and_why(engine, runs):
    a, b, _ = runs
    by_hand(engine, {a: 100})
    by_hand(engine, {b: 100}, now=NOW + DAY)
    newest = read_audit(engine, ENTITY)[0]
    assert (newest.actor, newest.is_person, newest.action, newest.comment) == ("anna", True, "deploy", "as agreed")
    assert (newest.before_value, newest.after_value["split"]) == ({"split": {a: 100}}, {b: 100})


@pytest.mark.parametrize(
    ("text_of_plan", "problem"),
    [
        ("5@1d, 5@2d", "must rise"),
        ("100", "no step below 100 %"),
        ("0@1d", "'0@1d' is not a step"),
        ("5@0d, 100", "'5@0d' is not a step"),
        ("five", "'five' is not a step"),
        ("5@1d,,100", "'' is not a step"),
        ("101", "'101' is not a step"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_an_example(text_of_plan, problem):
    with pytest.raises(ConfigError, match=problem) as refusal:
        read_plan(text_of_plan)
    assert "5@1d, 20@2d, 50@2d, 100" in str(refusal.value)
