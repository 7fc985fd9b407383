"""Open, find and read runs: one row of opt_runs a DAG run, made once whatever is retried or done at the same time."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.failures import is_duplicate
from optimizer.control_plane.records import EntityDefinition, Run, read_rows, status_words
from optimizer.control_plane.tables import entities, run_configs, runs
from optimizer.control_plane.transitions import cancel_run, fail_run, find_run, note_error, require_running, start_run
from optimizer.core.checks.outcome import outcome_text
from optimizer.errors import ConfigError, RunStateError, UnavailableError

__all__ = [
    "adopt_run",
    "cancel_run",
    "fail_run",
    "list_runs",
    "list_silent",
    "list_unclaimed",
    "note_error",
    "open_run",
    "read_active_outcomes",
    "read_run",
    "read_run_by_dag_run",
    "read_run_values",
    "request_run",
    "require_running",
    "start_run",
]

MAX_RUN_ID_LENGTH = 64
# Every attempt but the last loses to another run that was opened in the same second.
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """The DAG run that makes a run, and who or what triggered it; trigger_type as in opt_runs."""

    dag_id: str
    dag_run_id: str
    triggered_by: str
    trigger_type: str


def open_run(
    engine: Engine, *, entity_id: int, version_id: int, entity_code: str, origin: RunOrigin, now: datetime
) -> Run:
    """Return the DAG run's pending run; a second call of the same DAG run finds the first one's.

    The run_id is the UTC timestamp of `now`, with the entity's code where another entity has that second.

    Raises:
        ConfigError: the entity or the version is not in the control plane.
        UnavailableError: the database is silent.
    """
    fields = {
        "entity_id": entity_id,
        "version_id": version_id,
        "status": "pending",
        "created_at": now,
        **asdict(origin),
    }
    for _ in range(_ATTEMPTS):
        found = read_run_by_dag_run(engine, dag_id=origin.dag_id, dag_run_id=origin.dag_run_id)
        if found is not None:
            return found
        _insert_run(engine, fields=fields, entity_code=entity_code, now=now)
    raise UnavailableError(f"entity {entity_code}: other runs took every run_id near {now:%Y%m%d_%H%M%S}; try again")


def request_run(
    engine: Engine, definition: EntityDefinition, *, values: Mapping[str, str], author: Author, now: datetime
) -> Run:
    """Insert a pending run with values of its own, as the UI does, and return it; the DAG `pending_runs` starts it.

    Run, values and audit row are written in one transaction. While a run that the same author asked for with the same
    values waits, that run is returned: a form that is sent twice starts one run.

    Args:
        values: {config_key: text of the value} of this run alone.

    Raises:
        UnavailableError: the database is silent, or other runs took every run_id of these seconds.
    """
    entity, sections = definition.entity, {key.config_key: key.config_section for key in definition.config_keys}
    fields = {
        "entity_id": entity.entity_id,
        "version_id": entity.current_version_id,
        "status": "pending",
        "triggered_by": author.name,
        "trigger_type": "manual",
        "created_at": now,
    }

    def add_values(connection: Connection, run_id: str) -> None:
        if (waiting := _find_waiting(connection, fields, values=values, but=run_id)) is not None:
            raise _Waiting(waiting)
        rows = [
            {"run_id": run_id, "config_key": key, "config_value": value, "config_section": sections[key]}
            for key, value in values.items()
        ]
        if rows:
            connection.execute(insert(run_configs), rows)
        write_audit(
            connection,
            author,
            AuditedChange("request_run", entity_id=entity.entity_id, run_id=run_id, after=dict(values)),
            now=now,
        )

    for _ in range(_ATTEMPTS):
        try:
            run_id = _insert_run(engine, fields=fields, entity_code=entity.entity_code, now=now, then=add_values)
        except _Waiting as same:
            run_id = same.run_id
        if run_id is not None:
            return read_run(engine, run_id)
    raise UnavailableError(
        f"entity {entity.entity_code}: other runs took every run_id near {now:%Y%m%d_%H%M%S}; try again"
    )


class _Waiting(Exception):
    """The same run waits already, so the one that was just inserted is rolled back."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


def _find_waiting(
    connection: Connection, fields: Mapping[str, Any], *, values: Mapping[str, str], but: str
) -> str | None:
    """The pending run with these fields and values; one request of the entity looks at a time."""
    connection.execute(
        select(entities.c.entity_id).where(entities.c.entity_id == fields["entity_id"]).with_for_update()
    )
    is_same = [runs.c[name] == fields[name] for name in ("entity_id", "status", "triggered_by", "trigger_type")]
    statement = (
        select(runs.c.run_id, run_configs.c.config_key, run_configs.c.config_value)
        .outerjoin(run_configs, run_configs.c.run_id == runs.c.run_id)
        .where(*is_same, runs.c.run_id != but)
    )
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for run_id, key, value in connection.execute(statement):
        found[run_id] |= {} if key is None else {key: value}
    return next((run_id for run_id, own in found.items() if own == dict(values)), None)


def adopt_run(
    engine: Engine,
    run_id: str,
    *,
    entity_id: int,
    dag_id: str,
    dag_run_id: str,
) -> Run:
    """Give a pending run that the UI inserted its DAG run, and return it.

    Repeated by the same DAG run it changes nothing.

    Raises:
        RunStateError: the run is another entity's or another DAG run's, or is not pending.
    """
    is_free = [runs.c.entity_id == entity_id, runs.c.status.in_(status_words("pending")), runs.c.dag_run_id.is_(None)]
    with transaction(engine) as connection:
        run = find_run(connection, run_id, lock=True)
        if run.entity_id == entity_id and (run.dag_id, run.dag_run_id) == (dag_id, dag_run_id):
            return run
        values = {"dag_id": dag_id, "dag_run_id": dag_run_id}
        if connection.execute(update(runs).where(runs.c.run_id == run_id, *is_free).values(**values)).rowcount != 1:
            raise RunStateError(
                f"run {run_id} is {run.status}, of entity_id {run.entity_id} and DAG run {run.dag_run_id}: "
                f"{dag_run_id} cannot take it; only a pending run of the same entity without a DAG run can be taken"
            )
        return find_run(connection, run_id)


def read_run(engine: Engine, run_id: str) -> Run:
    """Return the run.

    Raises:
        RunStateError: there is no such run.
    """
    with reading(engine) as connection:
        return find_run(connection, run_id)


def read_run_by_dag_run(engine: Engine, *, dag_id: str, dag_run_id: str) -> Run | None:
    """Return the DAG run's run, or None where it has none yet."""
    found = _select_runs(engine, select(runs).where(runs.c.dag_id == dag_id, runs.c.dag_run_id == dag_run_id))
    return found[0] if found else None


def list_runs(engine: Engine, *, entity_code: str | None = None, limit: int = 20) -> list[Run]:
    """Return the newest runs first, of one entity or of all."""
    statement = select(runs).order_by(runs.c.created_at.desc(), runs.c.run_id.desc()).limit(limit)
    if entity_code is not None:
        statement = statement.join(entities, entities.c.entity_id == runs.c.entity_id)
        statement = statement.where(entities.c.entity_code == entity_code)
    return _select_runs(engine, statement)


def read_active_outcomes(engine: Engine) -> dict[str, str | None]:
    """Return {run_id: the outcome of its validation} of the entities' active runs, in one statement."""
    columns = (runs.c.run_id, runs.c.validation_status, runs.c.validation_warnings)
    statement = select(*columns).where(runs.c.run_id.in_(select(entities.c.active_run_id)))
    with reading(engine) as connection:
        rows = connection.execute(statement).all()
    return {row.run_id: outcome_text(row.validation_status, row.validation_warnings) for row in rows}


def list_unclaimed(engine: Engine, *, limit: int = 20) -> list[Run]:
    """Return the pending runs that the UI inserted and no DAG run has taken, oldest first."""
    is_unclaimed = (runs.c.status.in_(status_words("pending")), runs.c.dag_run_id.is_(None))
    return _select_runs(
        engine, select(runs).where(*is_unclaimed).order_by(runs.c.created_at, runs.c.run_id).limit(limit)
    )


def list_silent(engine: Engine, *, silent_since: datetime, limit: int) -> list[Run]:
    """Return the open runs with a DAG run that gave no sign of life after the moment, the longest silent first."""
    last_sign = func.coalesce(runs.c.heartbeat_at, runs.c.created_at)
    is_open = (runs.c.status.in_(status_words("pending", "running")), runs.c.dag_run_id.is_not(None))
    statement = select(runs).where(*is_open, last_sign < silent_since).order_by(last_sign, runs.c.run_id)
    return _select_runs(engine, statement.limit(limit))


def read_run_values(engine: Engine, run_id: str) -> dict[str, str]:
    """Return {config_key: config_value} that the user set for this run."""
    statement = select(run_configs).where(run_configs.c.run_id == run_id).order_by(run_configs.c.config_key)
    with reading(engine) as connection:
        rows = connection.execute(statement)
        return {row.config_key: row.config_value for row in rows}


def _select_runs(engine: Engine, statement: Select[Any]) -> list[Run]:
    with reading(engine) as connection:
        return read_rows(Run, connection.execute(statement).mappings())


def _insert_run(
    engine: Engine,
    *,
    fields: dict[str, Any],
    entity_code: str,
    now: datetime,
    then: Callable[[Connection, str], None] = lambda connection, run_id: None,
) -> str | None:
    """Insert the run under a free id and return the id, or None where a concurrent caller was faster."""
    try:
        with transaction(engine) as connection:
            ids = _choose_ids(connection, entity_id=fields["entity_id"], entity_code=entity_code, now=now)
            connection.execute(insert(runs).values(**fields, run_id=ids[0], run_code=ids[1]))
            then(connection, ids[0])
            return ids[0]
    except IntegrityError as error:
        if not is_duplicate(error):
            raise ConfigError(
                f"entity {entity_code}: entity_id={fields['entity_id']} or version_id={fields['version_id']} is not "
                "in the control plane; read the entity's definition again"
            ) from error
        return None


def _choose_ids(connection: Connection, *, entity_id: int, entity_code: str, now: datetime) -> tuple[str, str]:
    return next(
        (run_id, run_code)
        for run_id, run_code in _candidate_ids(entity_code=entity_code, now=now)
        if not _is_taken(connection, _same_ids(entity_id=entity_id, run_id=run_id, run_code=run_code))
    )


def _candidate_ids(*, entity_code: str, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield (run_id, run_code): the timestamp, the timestamp with the entity's code, then the next second's."""
    second = now.astimezone(UTC)
    while True:
        run_code = f"{second:%Y%m%d_%H%M%S}"
        for run_id in (run_code, f"{run_code}_{entity_code}"):
            if len(run_id) <= MAX_RUN_ID_LENGTH:
                yield run_id, run_code
        second += timedelta(seconds=1)


def _same_ids(*, entity_id: int, run_id: str, run_code: str) -> ColumnElement[bool]:
    of_entity = (runs.c.entity_id == entity_id) & (runs.c.run_code == run_code)
    return or_(runs.c.run_id == run_id, of_entity)


def _is_taken(connection: Connection, same: ColumnElement[bool]) -> bool:
    return connection.execute(select(runs.c.run_id).where(same).limit(1)).first() is not None
