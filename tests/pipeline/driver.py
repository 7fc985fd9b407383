"""A run of the pipeline as Airflow's tasks make it, step by step, without Airflow."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from reporting.stories import without_pictures
from sqlalchemy import insert, select, update

from lab.history.morning_runs import STEPS, run_step
from optimizer.control_plane import runs, tables
from optimizer.control_plane.audit import system
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.records import Run
from optimizer.runs.handle import RunHandle
from optimizer.runs.systems import Systems
from optimizer.steps import close_run, snapshot_config
from optimizer.steps.promote import promote
from optimizer.training.job import TrainingReport

FIRST_DAY = date(2026, 1, 5)
DAYS, BIDS = 30, 60_000
NOW = datetime(2026, 2, 4, 6, tzinfo=UTC)
LATER, NEXT_DAY = NOW + timedelta(hours=1), NOW + timedelta(days=1)
"""When a second run begins: those that begin at the same moment and learn from the same cells share one training."""

WISH = {"target_win_rate": 0.2, "max_bid_cpm": 12.0}
"""Run values that differ from what the first run was opened with."""

ENTITY = "drugs_hcp"
DAG_ID = f"optimize__{ENTITY}"


@dataclass(frozen=True)
class Pipeline:
    """One control plane with its systems, and what trains: by default what the step itself starts.

    has_pictures: whether reports are drawn; the first run's is, and those of tests/reporting are.
    """

    systems: Systems
    run_training: Callable[..., TrainingReport] | None = None
    has_pictures: bool = False

    def open(self, dag_run_id: str = "first", *, now: datetime = NOW, run_id: str | None = None, **values: Any):
        """Return the started run of the DAG run."""
        request = snapshot_config.RunRequest(
            entity_code=ENTITY,
            dag_id=DAG_ID,
            dag_run_id=dag_run_id,
            as_of=now,
            triggered_by="test",
            trigger_type="manual",
            values=values,
            run_id=run_id,
        )
        return snapshot_config.snapshot_config(request, systems=self.systems, now=now)

    def step(self, run: RunHandle, name: str, *, now: datetime = NOW) -> dict[str, Any]:
        """Run one step behind its guard."""
        options = {"run_training": self.run_training} if name == "train_models" else {}
        with nullcontext() if self.has_pictures or name != "upload" else without_pictures():
            return run_step(run, name, systems=self.systems, now=now, **options)

    def promote(self, run: RunHandle, *, now: datetime = NOW, approved_by: str | None = None) -> dict[str, Any]:
        return promote(run, systems=self.systems, author=system("test"), now=now, approved_by=approved_by)

    def set_value(self, key: str, value: str) -> None:
        """Set a config value of the entity."""
        with transaction(self.systems.engine) as connection:
            of_entity = select(tables.entities.c.entity_id).where(tables.entities.c.entity_code == ENTITY)
            row = {"entity_id": connection.scalar(of_entity), "config_key": key, "config_value": value}
            connection.execute(insert(tables.entity_configs).values(row))

    def set_promotion(self, run: RunHandle, value: str) -> None:
        """Have the run be promoted as if it had been opened with this `promotion`, which no earlier step looks at."""
        snapshot = self.row(run).config_snapshot
        assert snapshot is not None
        changed = {
            name: {**part, "promotion": value} if "promotion" in part else part for name, part in snapshot.items()
        }
        with transaction(self.systems.engine) as connection:
            of_run = tables.runs.c.run_id == run.run_id
            connection.execute(update(tables.runs).where(of_run).values(config_snapshot=changed))

    def close(self, dag_run_id: str = "first", *, failed_tasks: tuple[str, ...] = ()) -> dict[str, Any]:
        return close_run.close_run(
            dag_id=DAG_ID, dag_run_id=dag_run_id, failed_tasks=failed_tasks, systems=self.systems, now=NOW
        )

    def complete(self, dag_run_id: str = "first", *, now: datetime = NOW, **values: Any) -> RunHandle:
        """Return a run that went through every step up to register."""
        run = self.open(dag_run_id, now=now, **values)
        for name in STEPS:
            self.step(run, name, now=now)
        return run

    def row(self, run: RunHandle) -> Run:
        return runs.read_run(self.systems.engine, run.run_id)

    def row_of(self, dag_run_id: str) -> Run:
        row = runs.read_run_by_dag_run(self.systems.engine, dag_id=DAG_ID, dag_run_id=dag_run_id)
        assert row is not None
        return row

    def checksums(self, prefix_uri: str) -> Mapping[str, str]:
        """Return {key: sha256} of every object below the address."""
        bucket = prefix_uri.split("/")[2]
        store = self.systems.store
        return {key: store.describe(f"s3://{bucket}/{key}").sha256 for key in store.list_keys(prefix_uri)}

    def move_outputs_to(self, base_uri: str) -> None:
        """Give the entities another S3 prefix, so that control planes do not share objects."""
        own_prefix = base_uri + tables.entities.c.entity_code + "/"
        with transaction(self.systems.engine) as connection:
            connection.execute(update(tables.entities).values(s3_base_path=own_prefix))
