"""What the monitor's tests do with an entity that is live, and what they read of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from control_plane.catalog import sample_results
from pipeline.driver import ENTITY, NOW, Pipeline
from pipeline.first_run import FinishedRun
from pipeline.monitor.worlds import MORNING, SECOND
from sqlalchemy import update

from optimizer.artifacts.serving_snapshot import read_snapshot, snapshot_uri
from optimizer.control_plane import deployment_history, live_records, tables
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.live_rows import LiveDay, LiveVerdict
from optimizer.control_plane.registry import register_results
from optimizer.control_plane.splits import percents_of
from optimizer.deployment.monitor import monitor_entity

DEPLOYED = NOW + timedelta(hours=1)
FIRST_MORNING = datetime(2026, 2, 5, 2, 30, tzinfo=UTC)


def open_second(pipeline: Pipeline, first_run: FinishedRun) -> None:
    """Complete a second run that published the same bids as the first."""
    assert pipeline.open("second", now=datetime(2026, 2, 4, 7, tzinfo=UTC)).run_id == SECOND
    features = ({"feature_name": "os_code", "feature_order": 1},)
    results = sample_results(features=features, s3_output_path=first_run.handle.output_uri)
    register_results(pipeline.systems.engine, SECOND, results=results, now=NOW)


def lose_files(pipeline: Pipeline, run_id: str) -> None:
    with transaction(pipeline.systems.engine) as connection:
        gone = update(tables.runs).where(tables.runs.c.run_id == run_id)
        connection.execute(gone.values(s3_output_path="s3://pipeline/nowhere/"))


def watch(pipeline: Pipeline, *, now: datetime = MORNING) -> dict[str, Any]:
    return monitor_entity(ENTITY, systems=pipeline.systems, now=now)


def verdicts(pipeline: Pipeline, run_id: str, compared_with: str = "forecast") -> dict[str, LiveVerdict]:
    """Return the latest verdict of each figure of the run."""
    found = live_records.read_verdicts(pipeline.systems.engine, ENTITY)
    return {row.figure: row for row in found if (row.run_id, row.compared_with) == (run_id, compared_with)}


def daily(pipeline: Pipeline, run_id: str) -> list[LiveDay]:
    return [row for row in live_records.read_days(pipeline.systems.engine, ENTITY) if row.run_id == run_id]


def active(pipeline: Pipeline) -> dict[str, int]:
    return percents_of(deployment_history.read_active(pipeline.systems.engine, ENTITY))


def in_snapshot(pipeline: Pipeline) -> dict[str, int]:
    """Return the split that the entity's snapshot has."""
    prefix = read_definition(pipeline.systems.engine, ENTITY).entity.s3_base_path
    return {run.run_id: run.traffic_pct for run in read_snapshot(pipeline.systems.store, snapshot_uri(prefix)).runs}
