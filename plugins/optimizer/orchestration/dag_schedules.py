"""What Airflow knows of the entities' DAGs, from its metadata database: only for the api-server, which may read it."""

from collections.abc import Collection

from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from optimizer.console.context import Schedule, TaskTime
from optimizer.names import DAG_PREFIX

_AT_WORK = (TaskInstanceState.RUNNING, TaskInstanceState.DEFERRED, TaskInstanceState.UP_FOR_RETRY)


class DagSchedules:
    """The schedules of the entities' DAGs."""

    def schedules(self, entity_codes: Collection[str]) -> dict[str, Schedule]:
        """Return the schedules by entity code, in two statements; a DAG that Airflow does not know is left out."""
        dag_ids = [DAG_PREFIX + code for code in entity_codes]
        dags = select(DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after)
        tasks = select(TaskInstance.dag_id, TaskInstance.task_id).where(TaskInstance.state.in_(_AT_WORK))
        with create_session() as session:
            known = session.execute(dags.where(DagModel.dag_id.in_(dag_ids))).all()
            running = dict(session.execute(tasks.where(TaskInstance.dag_id.in_(dag_ids))).tuples().all())
        return {
            row.dag_id.removeprefix(DAG_PREFIX): Schedule(
                next_run_at=None if row.is_paused else row.next_dagrun_create_after,
                is_paused=row.is_paused,
                running_task=running.get(row.dag_id),
            )
            for row in known
        }

    def task_times(self, dag_id: str, dag_run_id: str) -> list[TaskTime]:
        """Return the tasks of a DAG run, in the order in which they began; those that did not begin come last."""
        columns = ("task_id", "state", "start_date", "end_date", "try_number")
        of_run = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == dag_run_id)
        with create_session() as session:
            rows = session.execute(select(*(getattr(TaskInstance, name) for name in columns)).where(*of_run)).all()
        found = [TaskTime(row.task_id, row.state, row.start_date, row.end_date, row.try_number) for row in rows]
        return sorted(found, key=_by_start)


def _by_start(task: TaskTime) -> tuple[bool, float, str]:
    return (task.started_at is None, 0.0 if task.started_at is None else task.started_at.timestamp(), task.task_id)
