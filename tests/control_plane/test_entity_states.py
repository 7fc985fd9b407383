"""The state of all entities is read in a fixed number of statements, on every database."""

from datetime import date, timedelta

import pytest
from control_plane.catalog import NOW, complete_sample, open_sample, sample_results, start_sample
from sqlalchemy import event

from optimizer.control_plane import control_choices
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy, set_control
from optimizer.control_plane.entity_states import read_entity_states
from optimizer.control_plane.live_records import replace_verdicts
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.control_plane.registry import register_dry_run
from optimizer.control_plane.runs import fail_run

HOUR = timedelta(hours=1)


@pytest.fixture
def run_id(engine) -> str:
    """Return the live run of drugs_hcp; later runs of it failed, failed their validation, or were dry runs."""
    run_id = complete_sample(engine, "good", now=NOW)
    complete_sample(engine, "wrong", now=NOW + HOUR, validation_status="failed")
    failed = open_sample(engine, "failed", now=NOW + 2 * HOUR)
    fail_run(engine, failed.run_id, message="extract: no answer", now=NOW + 2 * HOUR)
    dry = open_sample(engine, "dry", now=NOW + 3 * HOUR)
    start_sample(engine, dry.run_id, is_dry_run=True)
    register_dry_run(engine, dry.run_id, figures=sample_results(), now=NOW + 3 * HOUR)
    deploy(engine, entity_code="drugs_hcp", split={run_id: 100}, author=Author("anna"), now=NOW)
    return run_id


def verdict(run_id: str, **fields) -> LiveVerdict:
    return LiveVerdict(
        **{"run_id": run_id, "compared_with": "forecast", "figure": "win_rate", "verdict": "on target", "days": 3}
        | fields
    )


def test_the_newest_run_counts_and_the_newest_that_can_be_live_without_dry_runs(engine, run_id):
    other, state = read_entity_states(engine)
    assert (other.entity_code, other.newest, other.good, other.active) == ("drugs_com", None, None, ())
    assert state.good.run_id == run_id and state.newest.status == "failed"
    assert [live.run_id for live in state.active] == [run_id]


def test_only_the_verdicts_of_the_latest_measurement_count(engine, run_id):
    for day, said in ((date(2026, 2, 4), "below target"), (date(2026, 2, 5), "on target")):
        replace_verdicts(engine, 1, [verdict(run_id, verdict=said)], measured_on=day, now=NOW)
    (state,) = read_entity_states(engine, ["drugs_hcp"])
    assert [found.verdict for found in state.verdicts] == ["on target"]


def test_two_entities_take_as_many_statements_as_one(engine, run_id):
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    read_entity_states(engine, ["drugs_hcp"])
    of_one = len(statements)
    assert len(read_entity_states(engine)) == 2
    assert len(statements) == 2 * of_one
    assert of_one <= 10


def test_a_control_is_declined_while_the_last_choice_is_none(engine, run_id):
    def is_declined() -> bool:
        (state,) = read_entity_states(engine, ["drugs_hcp"])
        assert control_choices.is_declined(engine, state.entity_id) == state.is_control_declined
        return state.is_control_declined

    assert not is_declined()
    for hour, (chosen, expected) in enumerate(((None, True), (run_id, False), (None, True))):
        set_control(engine, entity_code="drugs_hcp", run_id=chosen, author=Author("anna"), now=NOW + (4 + hour) * HOUR)
        assert is_declined() == expected
