"""The word of an entity follows from a few columns, and is the one that its whole state gives."""

from datetime import timedelta

import pytest
from control_plane.catalog import NOW, SNAPSHOT, complete_sample, open_sample, sample_results, start_sample
from sqlalchemy import event, insert, update

from optimizer.control_plane import tables
from optimizer.control_plane.alerts import Incident, record_incidents
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entity_outlines import KeptOutlines, read_outlines
from optimizer.control_plane.live_records import replace_verdicts
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.control_plane.registry import register_dry_run, register_results
from optimizer.control_plane.runs import fail_run
from optimizer.deployment.readiness import read_statuses, word_of

DAY = timedelta(days=1)
ANNA = Author("anna")
WIN_RATES = {"target_win_rate": 0.3, "expected_win_rate": 0.3, "reachable_win_rate": 0.4}


def words(engine, *, now=NOW) -> dict[str, str]:
    """Return {entity_code: word}, which the outlines and the whole states agree on."""
    found = {one.entity_code: word_of(one, now=now) for one in read_outlines(engine)}
    assert found == {status.entity_code: status.readiness.word for status in read_statuses(engine, now=now)}
    return found


def complete(engine, dag_run_id: str, *, now=NOW, days_old: int | None = None, **figures: float) -> str:
    """Complete a run of drugs_hcp with figures of its target."""
    run = open_sample(engine, dag_run_id, now=now)
    age = {} if days_old is None else {"max_data_age_days": days_old}
    snapshot = {**SNAPSHOT, "technical": {"max_bid_cpm": 30.0, **age}}
    start_sample(engine, run.run_id, config_snapshot=snapshot)
    is_learning = figures.pop("is_learning", 0.0)
    metrics = [("target", name, value) for name, value in (WIN_RATES | figures).items()]
    results = sample_results(metrics=(*metrics, ("identification", "is_learning", is_learning)))
    register_results(engine, run.run_id, results=results, now=now)
    return run.run_id


def set_control(engine, run_id: str) -> None:
    with transaction(engine) as connection:
        own = tables.entities.c.entity_id == 1
        connection.execute(update(tables.entities).where(own).values(control_run_id=run_id))


def measure(engine, *found: tuple[str | None, str, str], days_later: int = 0) -> None:
    """Write verdicts of a morning: (run_id, compared_with, verdict)."""
    verdicts = [
        LiveVerdict(run_id=run_id, compared_with=compared, figure="cpm", verdict=verdict, days=3)
        for run_id, compared, verdict in found
    ]
    replace_verdicts(engine, 1, verdicts, measured_on=NOW.date() + days_later * DAY, now=NOW)


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({}, "on target"),
        ({"is_learning": 1.0}, "learning"),
        ({"expected_win_rate": 0.2, "reachable_win_rate": 0.2, "share_cap": 0.6}, "limited by cap"),
        ({"expected_win_rate": 0.2, "reachable_win_rate": 0.2, "share_margin": 0.6}, "limited by margin"),
    ],
)
def test_the_word_of_a_run_that_is_not_measured_yet(engine, figures, word):
    complete(engine, "only", **figures)
    assert words(engine) == {"drugs_com": "no data", "drugs_hcp": word}


def test_the_newest_run_that_ended_counts_where_it_failed(engine):
    complete(engine, "good")
    complete_sample(engine, "wrong", now=NOW + DAY / 24, validation_status="failed")
    assert words(engine)["drugs_hcp"] == "failed"
    complete(engine, "better", now=NOW + DAY / 12)
    assert words(engine)["drugs_hcp"] == "on target"
    fail_run(engine, open_sample(engine, "last", now=NOW + DAY / 8).run_id, message="extract: no answer", now=NOW)
    assert words(engine)["drugs_hcp"] == "failed"


def test_dry_runs_and_runs_in_progress_change_no_word(engine):
    complete(engine, "good")
    dry = open_sample(engine, "dry", now=NOW + DAY / 24)
    start_sample(engine, dry.run_id, is_dry_run=True)
    register_dry_run(engine, dry.run_id, figures=sample_results(validation_status="failed"), now=NOW + DAY / 24)
    open_sample(engine, "pending", now=NOW + DAY / 12)
    assert words(engine)["drugs_hcp"] == "on target"


@pytest.mark.parametrize(("days_old", "until"), [(None, 3), (1, 2), (7, 8)])
def test_data_are_stale_after_the_days_of_the_runs_own_configuration(engine, days_old, until):
    complete(engine, "only", days_old=days_old)
    assert words(engine, now=NOW + until * DAY)["drugs_hcp"] == "on target"
    assert words(engine, now=NOW + until * DAY + DAY / 24)["drugs_hcp"] == "stale"


def test_only_the_main_run_of_the_latest_measurement_is_off_target(engine):
    main, control, other = (complete(engine, name, now=NOW + hour * DAY / 24) for hour, name in enumerate("abc"))
    set_control(engine, control)
    below = "below target"
    measure(engine, (None, "forecast", below))
    assert words(engine)["drugs_hcp"] == "on target"  # nothing is live
    deploy(engine, entity_code="drugs_hcp", split={main: 60, other: 30, control: 10}, author=ANNA, now=NOW)
    for found, word in (
        ([(main, "forecast", "on target"), (other, "forecast", below), (control, "forecast", below)], "on target"),
        ([(main, "split", below), (None, "control", below)], "on target"),
        ([(main, "forecast", below)], "off target"),
    ):
        measure(engine, *found)
        assert words(engine)["drugs_hcp"] == word
    measure(engine, (main, "forecast", "inconclusive"), days_later=1)
    assert words(engine)["drugs_hcp"] == "on target"


def test_a_control_that_the_sql_of_a_ui_deployed_alone_is_the_main_run(engine):
    control = complete(engine, "only")
    set_control(engine, control)
    with transaction(engine) as connection:
        row = {"run_id": control, "entity_id": 1, "traffic_pct": 100, "deployed_by": "ui"}
        connection.execute(insert(tables.deployments).values(deployed_at=NOW, **row))
    measure(engine, (control, "forecast", "below target"))
    assert words(engine)["drugs_hcp"] == "off target"


def statements_of(engine, read) -> int:
    """Return how many statements of the control plane a call sends."""
    sent = []

    def note(*arguments) -> None:
        sent.append(arguments[2])

    event.listen(engine, "before_cursor_execute", note)
    read()
    event.remove(engine, "before_cursor_execute", note)
    return sum(one.startswith("SELECT") and "FROM opt_" in one for one in sent)


def test_the_outlines_have_the_kinds_of_open_alerts(engine):
    complete(engine, "only")
    kinds = {"below_forecast", "overspend"}
    incidents = [Incident(kind, "see the live figures") for kind in sorted(kinds)]
    record_incidents(engine, 1, [*incidents, Incident("stale", "data are old")], kinds=["stale"], now=NOW)
    record_incidents(engine, 1, incidents, kinds=["stale"], now=NOW)
    other, one = read_outlines(engine)
    assert (other.alert_kinds, one.alert_kinds) == (frozenset(), kinds)


def test_runs_that_were_read_before_are_not_read_again(engine):
    kept = KeptOutlines()
    complete(engine, "first", days_old=4)
    assert statements_of(engine, lambda: read_outlines(engine, kept)) == 3
    assert statements_of(engine, lambda: read_outlines(engine, kept)) == 2
    assert read_outlines(engine, kept) == read_outlines(engine)
    second = complete(engine, "second", now=NOW + DAY / 24, is_learning=1.0)
    assert statements_of(engine, lambda: read_outlines(engine, kept)) == 3
    assert read_outlines(engine, kept) == read_outlines(engine)
    assert read_outlines(engine, kept)[1].good.run_id == second
