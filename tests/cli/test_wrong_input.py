"""Wrong input to the live commands: each error names entity, key, value and bound, and says what to do next."""

from datetime import UTC, datetime, timedelta

import pytest
from cli.conftest import Command
from control_plane.catalog import NOW, complete_sample
from sqlalchemy import Engine, select, update

from optimizer.control_plane import tables
from optimizer.control_plane.deployment_history import read_active
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.splits import percents_of

GOOD, FAILED, BROKEN = "20260203_150000", "20260203_160000", "20260203_170000"
LISTED = "`optimizer runs drugs_hcp` lists them"
SPLIT = "entity drugs_hcp: the split cannot be deployed: "
CONTROL = "entity drugs_hcp: the control cannot be set: "
UNKNOWN = "entity 'nobody' is not in opt_entities; known are drugs_com, drugs_hcp"


@pytest.mark.parametrize(
    "command",
    [
        *(("live",), ("status",), ("deployments",), ("audit",), ("rollback",), ("rollback", "--unchecked")),
        *(("pin",), ("unpin",), ("control",), ("canary",), ("deploy", f"{GOOD}=100", "--unchecked")),
    ],
)
def test_an_unknown_entity_is_named_with_those_that_there_are(optimizer: Command, command: tuple[str, ...]):
    name, *rest = command
    refused = optimizer(name, "nobody", *rest)
    assert (refused.exit_code, refused.stderr.strip()) == (1, f"error: {UNKNOWN}")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ([f"{GOOD}=80"], f"{SPLIT}the percents sum to 80; make them sum to 100"),
        ([f"{GOOD}=101"], f"{SPLIT}the percents sum to 101; make them sum to 100"),
        ([f"{GOOD}=0"], f"{SPLIT}run {GOOD} has 0 percent; give it a whole number above 0, or leave it out"),
        (["gone=100"], f"{SPLIT}run gone is not in opt_runs; choose one of the entity's runs, {LISTED}"),
        ([f"{BROKEN}=100"], f"{SPLIT}run {BROKEN} is failed; choose a completed run, {LISTED}"),
        (
            [f"{FAILED}=100"],
            f"{SPLIT}run {FAILED} has validation_status failed; choose a run whose validation passed, {LISTED}",
        ),
    ],
)
def test_a_split_that_cannot_be_deployed_says_why_and_changes_nothing(
    engine: Engine, optimizer: Command, split: list[str], message: str
):
    refused = optimizer("deploy", "drugs_hcp", *split, "--unchecked")
    assert (refused.exit_code, refused.stderr.strip()) == (1, f"error: {message}")
    assert percents_of(read_active(engine, "drugs_hcp")) == {GOOD: 100}


def test_a_run_of_another_entity_is_refused_as_share_and_as_control(engine: Engine, optimizer: Command):
    of_other = {"entity_id": 2, "entity_code": "drugs_com", "dag_id": "optimize__drugs_com"}
    foreign = complete_sample(engine, "foreign", **of_other)
    problem = f"run {foreign} is a run of another entity; choose one of this entity's runs, {LISTED}"
    for begin, command in ((SPLIT, ("deploy", f"{foreign}=100", "--unchecked")), (CONTROL, ("control", foreign))):
        name, *rest = command
        assert optimizer(name, "drugs_hcp", *rest).stderr.strip() == f"error: {begin}{problem}"


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        ("gone", "run gone is not in opt_runs; choose one of the entity's runs"),
        ("", "run '' is not in opt_runs; choose one of the entity's runs"),
        (FAILED, f"run {FAILED} has validation_status failed; choose a run whose validation passed"),
    ],
)
def test_a_run_that_cannot_be_the_control_says_so(optimizer: Command, run: str, problem: str):
    assert optimizer("control", "drugs_hcp", run).stderr.strip() == f"error: {CONTROL}{problem}, {LISTED}"


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("", "--by is empty; give the name to record, or leave --by out to record the logged-in account"),
        ("  ", "--by is empty; give the name to record, or leave --by out to record the logged-in account"),
        ("airflow:monitor", "'airflow:monitor' cannot be a person's name: airflow: marks the system's own changes"),
        ("x" * 201, f"the name {'x' * 40}… has 201 characters; write at most 200"),
    ],
)
@pytest.mark.parametrize("command", ["deploy", "rollback", "pin", "unpin", "canary", "retention"])
def test_a_name_that_cannot_be_recorded_is_refused_before_anything_is_looked_at(
    optimizer: Command, command: str, by: str, message: str
):
    rest = {"deploy": ["drugs_hcp", f"{GOOD}=100"], "retention": []}.get(command, ["drugs_hcp"])
    refused = optimizer(command, *rest, "--by", by)
    assert (refused.exit_code, refused.stderr.strip()) == (1, f"error: {message}")


def test_a_comment_is_optional_may_not_be_too_long_and_is_kept_without_its_blanks(engine: Engine, optimizer: Command):
    refused = optimizer("pin", "drugs_hcp", "--comment", "c" * 1001)
    assert refused.stderr.strip() == f"error: the comment {'c' * 40}… has 1,001 characters; write at most 1,000"
    for command, comment in (("pin", "  "), ("unpin", " the campaign is over ")):
        assert optimizer(command, "drugs_hcp", "--comment", comment).exit_code == 0
    with reading(engine) as connection:
        kept = connection.scalars(select(tables.audit.c.comment).order_by(tables.audit.c.audit_id)).all()
    assert kept[-2:] == ["", "the campaign is over"]


@pytest.mark.parametrize("command", [("deploy", "drugs_hcp", f"{GOOD}=100"), ("rollback", "drugs_hcp")])
def test_a_silent_object_store_leaves_the_split_and_the_error_says_how_to_go_on(
    engine: Engine, optimizer: Command, command: tuple[str, ...]
):
    live = complete_sample(engine, "fourth", now=NOW.replace(hour=18))
    assert optimizer("deploy", "drugs_hcp", f"{live}=100", "--unchecked").exit_code == 0
    refused = optimizer(*command)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: entity drugs_hcp: nothing was changed, because the runs' files could not")
    assert refused.stderr.strip().endswith("Try again, or add --unchecked to skip the check")
    assert percents_of(read_active(engine, "drugs_hcp")) == {live: 100}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--days", "0"), "'--days'"),
        (("--days", "9999999999"), "'--days'"),
        (("--days", "a week"), "'--days'"),
        (("--scratch-days", "-1"), "'--scratch-days'"),
    ],
)
def test_days_of_retention_out_of_their_bounds_are_refused(
    optimizer: Command, arguments: tuple[str, ...], message: str
):
    refused = optimizer("retention", "--dry-run", *arguments)
    assert refused.exit_code == 2 and f"Invalid value for {message}" in refused.stderr


def test_staged_files_are_not_kept_for_longer_than_outputs(optimizer: Command):
    refused = optimizer("retention", "--dry-run", "--days", "5", "--scratch-days", "30")
    message = "outputs would be kept for 5 days and staged files for 30; keep staged files for 1 to 5 days"
    assert (refused.exit_code, refused.stderr.strip()) == (1, f"error: {message}, or outputs longer")


def test_an_entity_with_nothing_live_or_without_a_control_says_what_to_do(optimizer: Command):
    assert optimizer("live", "drugs_com").stdout.strip() == (
        "Nothing of drugs_com is live; `optimizer deploy drugs_com RUN=100` deploys a run."
    )
    assert optimizer("control", "drugs_hcp").stdout.strip() == (
        "drugs_hcp has no control; `optimizer control drugs_hcp RUN` chooses one."
    )
    assert optimizer("pin", "drugs_com").stderr.strip() == (
        "error: entity drugs_com: nothing is live; deploy a split first"
    )


def test_dates_in_the_future_are_shown_and_stop_no_command(engine: Engine, optimizer: Command):
    later = datetime.now(UTC) + timedelta(days=400)
    with transaction(engine) as connection:
        connection.execute(update(tables.deployments).values(deployed_at=later))
        connection.execute(update(tables.runs).values(data_end_dt=later, completed_at=later))
    for command in ("live", "deployments", "status", "audit"):
        assert optimizer(command, "drugs_hcp").exit_code == 0, command
    assert f"{later:%Y-%m-%d}" in optimizer("deployments", "drugs_hcp").stdout
    other = complete_sample(engine, "fourth", now=NOW.replace(hour=18))
    assert optimizer("deploy", "drugs_hcp", f"{other}=100", "--unchecked").exit_code == 0
    assert optimizer("rollback", "drugs_hcp", "--unchecked").exit_code == 0
    assert percents_of(read_active(engine, "drugs_hcp")) == {GOOD: 100}
