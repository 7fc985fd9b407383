"""Readiness leaves Airflow through its own metrics."""

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.observability import stats
from control_plane.catalog import NOW, complete_sample, fill_catalog
from control_plane.databases import new_control_plane

from optimizer.core.live.readiness import Readiness
from optimizer.deployment.readiness import EntityStatus
from optimizer.orchestration import monitor_dag
from optimizer.orchestration.readiness_gauges import send_gauges


class Recorder:
    """A backend of Airflow's metrics that keeps its gauges."""

    def __init__(self) -> None:
        self.gauges: dict[str, tuple[float, dict[str, Any] | None]] = {}

    def gauge(self, stat: str, value: float, *, tags: dict[str, Any] | None = None) -> None:
        self.gauges[stat] = (value, tags)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Return the backend that Airflow's metrics go to."""
    recorder = Recorder()
    for name in ("_factory", "_backend", "_export_legacy_names"):
        monkeypatch.setattr(f"airflow.sdk._shared.observability.metrics.stats.{name}", None)
    stats.initialize(factory=lambda: recorder, export_legacy_names=False)
    return recorder


def test_what_is_known_of_an_entity_is_a_gauge_with_its_name_and_a_tag(recorder: Recorder):
    status = EntityStatus(
        entity_code="drugs hcp",
        readiness=Readiness("off target", "the live win rate is low"),
        live=(),
        target_win_rate=0.65,
        forecast_win_rate=0.36,
        live_win_rate=0.2,
        live_cpm=12.5,
        saved=None,
        canary_step=None,
        is_pinned=False,
        open_alerts=0,
        control_notice=None,
    )
    assert send_gauges([status]) == 3
    tags = {"entity": "drugs hcp"}
    assert recorder.gauges == {
        "optimizer.readiness.drugs_hcp": (6, tags),
        "optimizer.win_rate.drugs_hcp": (0.2, tags),
        "optimizer.cpm.drugs_hcp": (12.5, tags),
    }


def test_the_monitors_task_reports_every_active_entity(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    path = tmp_path / "control_plane.db"
    engine = new_control_plane(path, fill_catalog)
    complete_sample(engine, "old", now=NOW)
    connection = json.dumps({"conn_type": "sqlite", "host": str(path)})
    monkeypatch.setenv("AIRFLOW_CONN_OPTIMIZER_CONTROL_PLANE", connection)
    report_readiness = monitor_dag.build_monitor_dag().get_task("report_readiness")
    assert report_readiness.python_callable() == {"drugs_com": "no data", "drugs_hcp": "stale"}
    assert {name: value for name, (value, _) in recorder.gauges.items()} == {
        "optimizer.readiness.drugs_com": 9,
        "optimizer.readiness.drugs_hcp": 7,
    }


def test_readiness_is_reported_however_the_entities_ended():
    task = monitor_dag.build_monitor_dag().get_task("report_readiness")
    assert task.upstream_task_ids == {"watch"} and task.trigger_rule == "all_done"
