"""What does not fit together in control plane, Airflow and object store, and what to do about each."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from sqlalchemy import Engine

from optimizer.artifacts.manifest import MANIFEST_NAME
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import consistency, entities, serving_snapshots
from optimizer.control_plane.records import BrokenEntity, CompletedRun, EntityDefinition, Run
from optimizer.control_plane.schema import check_schema
from optimizer.errors import AccessDenied, ArtifactError, ConfigError, RunStateError, UnavailableError
from optimizer.lifecycle.claims import DagRunState
from optimizer.lifecycle.dag_checks import ListDags, compare_dags
from optimizer.lifecycle.findings import DoctorFinding
from optimizer.lifecycle.pool_checks import PoolSlots, compare_slots
from optimizer.lifecycle.zombie_runs import GRACE, last_sign, reason_of_death
from optimizer.names import DAG_PREFIX, PENDING_RUNS_DAG, TRAINING_POOL
from optimizer.runs.config_checks import check_settings

MAX_OPEN = 1_000
MAX_COMPLETED = 200
"""Of the completed runs that many are looked up in the object store, the newest first, and all that are deployed."""

LOOKUPS_AT_ONCE = 10
"""As many connections as the object store's client keeps."""


def examine(
    engine: Engine,
    *,
    store: ObjectStore,
    dag_run_state: DagRunState,
    list_dags: ListDags,
    pool_slots: PoolSlots,
    now: datetime,
) -> list[DoctorFinding]:
    """Return everything that does not fit together; none where all is well. Changes nothing.

    A system that cannot be asked is a finding too. The number of statements, and of requests for the entities' DAGs,
    does not grow with each entity.

    Raises:
        ConfigError: the control plane cannot be read at all; UnavailableError: it is silent.
    """
    check_schema(engine)
    good, broken = entities.read_definitions(engine)
    try:
        of_dags = list(compare_dags(good, broken, list_dags(DAG_PREFIX)))
        of_dags += compare_slots(good, pool_slots(TRAINING_POOL))
        is_answering = True
    except (ConfigError, UnavailableError, RunStateError) as error:
        what = "the entities' DAGs, the open runs' DAG runs and the pool"
        of_dags, is_answering = [_silent_airflow(error, what)], False
    return [
        *of_dags,
        *_open_runs(engine, dag_run_state=dag_run_state if is_answering else None, now=now),
        *_completed_runs(engine, store=store),
        *_splits(engine),
        *_snapshots(engine),
        *_versions(engine),
        *_entities(good, broken),
    ]


def _silent_airflow(error: Exception, what: str) -> DoctorFinding:
    return DoctorFinding("Airflow", str(error), f"make it answer, and ask again: {what} were not looked up")


def _open_runs(engine: Engine, *, dag_run_state: DagRunState | None, now: datetime) -> Iterator[DoctorFinding]:
    """Args: dag_run_state: None where Airflow is silent."""
    for run in consistency.list_open(engine, limit=MAX_OPEN):
        if run.dag_run_id is None:
            yield from _without_dag_run(run, now=now)
        elif dag_run_state is not None:
            try:
                state = dag_run_state(run.dag_id or "", run.dag_run_id)
            except (ConfigError, UnavailableError) as error:
                dag_run_state = None
                yield _silent_airflow(error, "the DAG runs of the open runs")
            else:
                yield from _with_dag_run(run, state, now=now)


def _with_dag_run(run: Run, state: str | None, *, now: datetime) -> Iterator[DoctorFinding]:
    # A run that was just claimed has no DAG run yet, and one whose DAG run just ended is being closed.
    if last_sign(run) >= now - GRACE and (state is not None or run.status == "pending"):
        return
    if reason := reason_of_death(run, state, now=now):
        todo = f"the DAG `{PENDING_RUNS_DAG}` sets it failed: unpause it; or `optimizer cancel {run.run_id}`"
        yield DoctorFinding(_name(run), f"{run.status}, but {reason}", todo)


def _without_dag_run(run: Run, *, now: datetime) -> Iterator[DoctorFinding]:
    if run.status == "running":
        todo = f"nothing of ours works on it: `optimizer cancel {run.run_id}`, then start a new run"
        yield DoctorFinding(_name(run), "running without a DAG run", todo)
    elif now - run.created_at > GRACE:
        minutes = (now - run.created_at).total_seconds() / 60
        todo = f"unpause the DAG `{PENDING_RUNS_DAG}`, and read the log of its `claim` where it is red"
        yield DoctorFinding(_name(run), f"pending for {minutes:,.0f} minutes, and not claimed", todo)


def _completed_runs(engine: Engine, *, store: ObjectStore) -> Iterator[DoctorFinding]:
    denied: list[AccessDenied] = []
    found = consistency.list_completed(engine, limit=MAX_COMPLETED)
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:
        looked_up = [(run, pool.submit(_problem_of_outputs, run, store)) for run in found]
        for run, lookup in looked_up:
            try:
                problem = lookup.result()
            except AccessDenied as error:
                denied.append(error)
                continue
            except UnavailableError as error:
                pool.shutdown(wait=False, cancel_futures=True)
                todo = "make it answer, and ask again: the manifests of the completed runs were not looked up"
                yield DoctorFinding("object store", str(error), todo)
                break
            if problem:
                todo = "do not deploy it: the bidder refuses it. Start a new run of the entity"
                yield DoctorFinding(f"run {run.run_id}", problem, todo)
    if denied:
        whose = f"{len(denied)} completed run{'s' if len(denied) > 1 else ''}"
        todo = "let this login read the objects, and ask again: their manifests were not looked up"
        yield DoctorFinding("object store", f"access was denied for {whose}, first: {denied[0]}", todo)


def _problem_of_outputs(run: CompletedRun, store: ObjectStore) -> str | None:
    if not run.s3_output_path:
        return "completed without s3_output_path"
    try:
        is_there = store.exists(f"{run.s3_output_path.rstrip('/')}/{MANIFEST_NAME}")
    except AccessDenied:
        raise
    except ArtifactError as error:
        return f"completed, but its manifest cannot be looked up: {error}"
    return None if is_there else f"completed, but there is no {MANIFEST_NAME} below {run.s3_output_path}"


def _splits(engine: Engine) -> Iterator[DoctorFinding]:
    for code, total in consistency.wrong_totals(engine).items():
        todo = f"`optimizer deploy {code} RUN=PERCENT…` sets a whole split, `optimizer rollback {code}` the one before"
        yield DoctorFinding(f"entity {code}", f"its active deployments sum to {total} %, not to 100", todo)
    for row in consistency.list_undeployable(engine):
        problem = f"its live run {row['run_id']} is {row['status']}, validation {row['validation_status'] or 'none'}"
        todo = f"`optimizer deploy {row['entity_code']} RUN=PERCENT…` with completed runs whose validation passed"
        yield DoctorFinding(f"entity {row['entity_code']}", problem, todo)


def _snapshots(engine: Engine) -> Iterator[DoctorFinding]:
    for code in serving_snapshots.list_late(engine):
        todo = (
            f"unpause the DAG `{PENDING_RUNS_DAG}`, and read the log of its `write_snapshots`; if the split was "
            "changed a moment ago, ask again in a minute"
        )
        yield DoctorFinding(f"entity {code}", "its snapshot in the object store is not what is live", todo)


def _versions(engine: Engine) -> Iterator[DoctorFinding]:
    for row in consistency.keys_without_default(engine):
        todo = "set its default_value in opt_version_configs (`optimizer migrate` does so for this code's version)"
        yield DoctorFinding(
            f"version {row['version_code']}", f"its key {row['config_key']} is required, without default", todo
        )


def _entities(good: Iterable[EntityDefinition], broken: Iterable[BrokenEntity]) -> Iterator[DoctorFinding]:
    for row in broken:
        yield DoctorFinding(f"entity {row.entity_code}", f"it is invalid: {row.reason}", "correct the row")
    for definition in good:
        if definition.entity.status == "A" and (problem := _problem_of_config(definition)):
            todo = (
                f"correct opt_entity_configs or opt_version_configs; `optimizer config {definition.entity.entity_code}`"
            )
            yield DoctorFinding(f"entity {definition.entity.entity_code}", f"no run can start: {problem}", todo)


def _problem_of_config(definition: EntityDefinition) -> str | None:
    code = definition.entity.entity_code
    try:
        check_settings(definition, definition.merged_config())
    except ConfigError as error:
        return str(error).removeprefix(f"entity {code}: ")
    return None


def _name(run: Run) -> str:
    return f"run {run.run_id}"
