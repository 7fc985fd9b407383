"""Take the runs that the UI inserted: check each, assign its DAG run, and return the DAG runs to start.

The UI inserts a run and its config values with two statements, perhaps in two transactions. So a row is looked at
twice, SETTLE_S apart, and taken only where both looks saw the same values: no clock of the UI's or of the
database's is asked, so a created_at in another time zone neither blocks a row nor hurries it. What is written
later still counts, up to the moment when the run starts and reads its values for good.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from optimizer.control_plane import claims, entities
from optimizer.control_plane.records import EntityDefinition, Run
from optimizer.control_plane.schema import check_schema
from optimizer.errors import ConfigError, PermanentError
from optimizer.names import DAG_PREFIX
from optimizer.runs.config_checks import check_run

log = logging.getLogger(__name__)

SETTLE_S = 5.0
MAX_RUNS_A_PASS = 1_000

MAX_WAITING = 1_000
"""This many claimed runs may wait, most of them for an earlier run of their entity."""

# Airflow refuses other dag_run_ids, and both become parts of S3 keys.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~:+-]*")

DagRunState = Callable[[str, str], str | None]
"""(dag_id, dag_run_id) to the state of the DAG run, None where there is none; raises where Airflow is silent."""


def claim_pending(
    engine: Engine, *, dag_run_state: DagRunState, wait: Callable[[float], object], now: datetime
) -> list[dict[str, Any]]:
    """Return what to start: dicts of trigger_dag_id, trigger_run_id and conf, the oldest claims first.

    Rows that were claimed before and have no DAG run yet are among them: their claimer may have died before
    the start. To start a DAG run twice is to start it once, for its id is the run's.

    A row that can never run is failed at once with the reason on it. The number of statements grows by a few for
    each 200 rows, and Airflow is asked for runs of earlier claims alone.
    """
    check_schema(engine)
    accepted, refused = _checked(_settled(engine, wait=wait), engine=engine, now=now)
    for run_id in claims.refuse_runs(engine, refused, now=now):
        log.warning("run %s is refused: %s", run_id, refused[run_id])
    claimed = frozenset(claims.claim_runs(engine, accepted, now=now))
    for run_id in sorted(claimed):
        log.info("run %s is claimed for %s", run_id, accepted[run_id])
    return [
        _start_of(run)
        for run in claims.list_claimed(engine, limit=MAX_WAITING)
        if run.run_id in claimed or dag_run_state(run.dag_id or "", run.dag_run_id or "") is None
    ]


def _settled(engine: Engine, *, wait: Callable[[float], object]) -> list[tuple[Run, Mapping[str, str]]]:
    """The unclaimed rows that did not change for SETTLE_S seconds, with the values of each."""
    before = claims.read_requests(engine, limit=MAX_RUNS_A_PASS)
    if not before:
        return []
    wait(SETTLE_S)
    after = claims.read_requests(engine, limit=MAX_RUNS_A_PASS)
    return [(run, values) for run_id, (run, values) in after.items() if before.get(run_id) == (run, values)]


def _checked(
    requests: Sequence[tuple[Run, Mapping[str, str]]], *, engine: Engine, now: datetime
) -> tuple[dict[str, str], dict[str, str]]:
    """{run_id: dag_id} of the rows that can run, and {run_id: why not} of the others."""
    if not requests:
        return {}, {}
    found = entities.read_runnable(engine, {run.entity_id for run, _ in requests})
    accepted, refused = {}, {}
    for run, values in requests:
        try:
            definition = _entity_of(run, found)
            _check_row(run, definition)
            check_run(definition, run, values=values, as_of=now)
        except PermanentError as error:
            refused[run.run_id] = str(error)
        else:
            accepted[run.run_id] = DAG_PREFIX + definition.entity.entity_code
    return accepted, refused


def _entity_of(run: Run, found: Mapping[int, EntityDefinition | ConfigError]) -> EntityDefinition:
    entity = found.get(run.entity_id)
    if entity is None:
        raise ConfigError(f"entity_id {run.entity_id} is not in opt_entities; insert the run of an entity that is")
    if isinstance(entity, ConfigError):
        raise entity
    return entity


def _check_row(run: Run, definition: EntityDefinition) -> None:
    entity = definition.entity
    for column, text in (("run_id", run.run_id), ("run_code", run.run_code)):
        if not _IDENTIFIER.fullmatch(text):
            raise ConfigError(
                f"entity {entity.entity_code}: {column}={text!r} is not made of letters, digits and _ . ~ : + - alone, "
                "a letter or digit first; insert the run again, e.g. with run_id 20260203_150000"
            )
    if run.version_id != entity.current_version_id:
        raise ConfigError(
            f"entity {entity.entity_code}: the run's version_id={run.version_id} is not "
            f"{entity.current_version_id}, the current one; insert the run again with that"
        )


def _start_of(run: Run) -> dict[str, Any]:
    return {"trigger_dag_id": run.dag_id, "trigger_run_id": run.dag_run_id, "conf": {"run_id": run.run_id}}
