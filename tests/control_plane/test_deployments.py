from datetime import timedelta

import pytest
from control_plane.catalog import NOW, complete_sample, open_sample
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from optimizer.control_plane import tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployment_history import read_active, read_history
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.errors import DeploymentError

LATER = NOW + timedelta(minutes=5)
BY = {"entity_code": "drugs_hcp", "author": Author("gaurav@company.com")}


@pytest.fixture
def run_ids(engine) -> tuple[str, str]:
    return complete_sample(engine, "first"), complete_sample(engine, "second")


def test_a_split_is_active_and_the_largest_share_is_the_active_run(engine, run_ids):
    first, second = run_ids
    deployed = deploy(engine, split={first: 20, second: 80}, now=NOW, **BY)
    assert [(row.run_id, row.traffic_pct, row.deployed_by, row.deployed_at) for row in deployed] == [
        (second, 80, "gaurav@company.com", NOW),
        (first, 20, "gaurav@company.com", NOW),
    ]
    assert read_active(engine, "drugs_hcp") == deployed
    assert read_definition(engine, "drugs_hcp").entity.active_run_id == second


def test_a_new_split_replaces_the_old_one_and_keeps_its_history(engine, run_ids):
    first, second = run_ids
    deploy(engine, split={first: 100}, now=NOW, **BY)
    deploy(engine, split={second: 100}, now=LATER, **BY)
    deploy(engine, split={first: 100}, now=LATER, **BY)
    assert [row.run_id for row in read_active(engine, "drugs_hcp")] == [first]
    history = [(row.run_id, row.is_active, row.deactivated_at) for row in read_history(engine, "drugs_hcp")]
    assert history == [(first, True, None), (second, False, LATER), (first, False, LATER)]
    assert read_definition(engine, "drugs_hcp").entity.active_run_id == first


def test_the_split_that_is_active_already_makes_no_second_row(engine, run_ids):
    split = dict(zip(run_ids, (50, 50), strict=True))
    first = deploy(engine, split=split, now=NOW, **BY)
    assert deploy(engine, split=split, now=LATER, **BY) == first
    assert len(read_history(engine, "drugs_hcp")) == 2


def test_a_run_registered_with_the_old_word_success_can_be_deployed(engine, run_ids):
    with transaction(engine) as connection:
        connection.execute(update(tables.runs).values(status="success"))
    assert deploy(engine, split={run_ids[0]: 100}, now=NOW, **BY)


def test_all_reasons_against_a_split_are_named_together(engine):
    pending, failed = open_sample(engine, "pending").run_id, complete_sample(engine, "bad", validation_status="failed")
    of_other = {"entity_id": 2, "entity_code": "drugs_com", "dag_id": "optimize__drugs_com"}
    foreign = complete_sample(engine, "foreign", **of_other)
    with pytest.raises(DeploymentError) as refusal:
        deploy(engine, split={pending: 10, failed: 20, foreign: 30, "nowhere": 30}, now=NOW, **BY)
    for reason in (
        "entity drugs_hcp",
        f"run {pending} is pending",
        f"run {failed} has validation_status failed",
        f"run {foreign} is a run of another entity",
        "run nowhere is not in opt_runs",
        "the percents sum to 90",
    ):
        assert reason in str(refusal.value)
    assert read_active(engine, "drugs_hcp") == []


@pytest.mark.parametrize("percents", [(0, 100), (-1, 101), (50.0, 50), (True, 99), (50, 49), (60, 60)])
def test_percents_that_are_not_whole_positive_and_100_together_are_refused(engine, run_ids, percents):
    with pytest.raises(DeploymentError, match=r"whole number above 0|sum to"):
        deploy(engine, split=dict(zip(run_ids, percents, strict=True)), now=NOW, **BY)


def test_an_empty_split_and_an_unknown_entity_are_refused(engine):
    with pytest.raises(DeploymentError, match="names no run"):
        deploy(engine, split={}, now=NOW, **BY)
    with pytest.raises(DeploymentError, match="'nobody' is not in opt_entities"):
        deploy(engine, entity_code="nobody", split={"x": 100}, author=Author("me"), now=NOW)


def test_the_database_itself_keeps_a_run_from_being_active_twice(engine, run_ids):
    row = {"run_id": run_ids[0], "entity_id": 1, "traffic_pct": 50}
    with pytest.raises(IntegrityError), transaction(engine) as connection:
        connection.execute(insert(tables.deployments), [row, row])
    with transaction(engine) as connection:
        connection.execute(insert(tables.deployments), [{**row, "is_active": False}] * 2)


def test_the_database_itself_keeps_an_entity_from_deploying_a_foreign_run(engine, run_ids):
    with pytest.raises(IntegrityError), transaction(engine) as connection:
        connection.execute(insert(tables.deployments).values(run_id=run_ids[0], entity_id=2, traffic_pct=100))
    with pytest.raises(IntegrityError), transaction(engine) as connection:
        of_other = update(tables.entities).where(tables.entities.c.entity_id == 2)
        connection.execute(of_other.values(active_run_id=run_ids[0]))
