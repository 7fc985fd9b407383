"""`optimizer status`: one word for each entity, and what is live."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cli.conftest import Command
from control_plane.catalog import open_sample, sample_results, start_sample
from sqlalchemy import Engine

from optimizer.control_plane import live_records
from optimizer.control_plane.alerts import Incident, record_incidents
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy, set_control, set_pinned
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.control_plane.registry import register_results

ANNA = Author("anna")
TODAY = datetime.now(UTC).replace(microsecond=0)
TARGET = [("target", key, value) for key, value in (("target_win_rate", 0.65), ("expected_win_rate", 0.36))]
LIMITED = [
    *TARGET,
    ("target", "reachable_win_rate", 0.37),
    ("target", "share_cap", 0.62),
    ("target", "share_held", 0.1),
]
REACHED = [("target", "target_win_rate", 0.36), TARGET[1]]
LEARNING = [
    *LIMITED,
    ("identification", "is_learning", 1.0),
    ("identification", "learning_since", 20260203.0),
    ("identification", "learning_days_left", 2.0),
]


def complete(engine: Engine, metrics: list[Any], *, ended_at: datetime = TODAY, **fields: Any) -> str:
    """Return a run whose window ended when it did."""
    run = open_sample(engine, f"at {ended_at} {len(metrics)} {fields}", now=ended_at)
    window = {"data_start_at": ended_at - timedelta(days=30), "data_end_at": ended_at}
    start_sample(engine, run.run_id, **window, now=ended_at)
    register_results(engine, run.run_id, results=sample_results(metrics=metrics, **fields), now=ended_at)
    return run.run_id


def of(found: list[dict[str, Any]], code: str) -> dict[str, Any]:
    return next(row for row in found if row["entity_code"] == code)


def test_an_entity_without_runs_has_no_data_and_one_whose_newest_run_failed_says_why(optimizer_json: Any):
    found = optimizer_json("status")
    assert of(found, "drugs_com")["readiness"] == "no data"
    failed = of(found, "drugs_hcp")
    assert (failed["readiness"], failed["readiness_code"]) == ("failed", 8)
    assert "the warehouse denied the login" in failed["sentence"]


@pytest.mark.parametrize(
    ("metrics", "word"), [(LIMITED, "limited by cap"), (REACHED, "on target"), (LEARNING, "learning")]
)
def test_the_newest_run_says_learning_limited_or_on_target(
    engine: Engine, optimizer_json: Any, metrics: list[Any], word: str
):
    complete(engine, metrics)
    (found,) = optimizer_json("status", "drugs_hcp")
    assert found["readiness"] == word
    assert found["forecast_win_rate"] == 0.36
    if word == "limited by cap":
        assert found["limits"] == {"limited by cap": 0.62, "limited by evidence": 0.1}


def test_old_data_is_stale(engine: Engine, optimizer_json: Any):
    complete(engine, REACHED, ended_at=TODAY - timedelta(days=9))
    assert of(optimizer_json("status"), "drugs_hcp")["readiness"] == "stale"


def test_the_table_has_the_split_with_roles_the_win_rates_pin_and_alerts(
    engine: Engine, optimizer: Command, optimizer_json: Any
):
    control = complete(engine, REACHED, ended_at=TODAY - timedelta(hours=1))
    main = complete(engine, REACHED)
    set_control(engine, entity_code="drugs_hcp", run_id=control, author=ANNA, now=TODAY)
    deploy(engine, entity_code="drugs_hcp", split={main: 90, control: 10}, author=ANNA, now=TODAY)
    set_pinned(engine, entity_code="drugs_hcp", is_pinned=True, author=ANNA, now=TODAY)
    verdict = LiveVerdict(
        run_id=main,
        compared_with="forecast",
        figure="win_rate",
        verdict="below target",
        reason="20.0 %, expected 36.0 %",
        first_day=date(2026, 2, 1),
        days=3,
        live=0.2,
    )
    live_records.replace_verdicts(engine, 1, [verdict], measured_on=TODAY.date(), now=TODAY)
    record_incidents(engine, 1, [Incident("below_target", "win rate is low")], kinds=["below_target"], now=TODAY)
    (found,) = optimizer_json("status", "drugs_hcp")
    assert found["readiness"] == "off target" and found["live_win_rate"] == 0.2
    assert [(live["run_id"], live["traffic_pct"], live["role"]) for live in found["live"]] == [
        (main, 90, "main"),
        (control, 10, "control"),
    ]
    assert found["is_pinned"] and found["open_alerts"] == 1 and found["canary_step"] is None
    printed = optimizer("status", "drugs_hcp").stdout
    assert "off target" in printed and "below its forecast: 20.0 %, expected 36.0 %" in printed


def test_an_unknown_entity_is_an_error(optimizer: Command):
    result = optimizer("status", "nobody")
    assert result.exit_code == 1 and "nobody" in result.stderr
