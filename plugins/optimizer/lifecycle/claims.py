"""Take the runs that the UI inserted: check each, assign its DAG run, and return the DAG runs to start.

The UI inserts a run and its config values with two statements, perhaps in two transactions. So a row is looked at
twice, SETTLE_S apart, and taken only where both looks saw the same values: no clock of the UI's or of the
database's is asked, so a created_at in another time zone neither blocks a row nor hurries it. What is written
later still counts, up to the moment when the run starts and reads its values for good.
"""

import logging
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from optimizer.control_plane import claims, entities, runs
from optimizer.control_plane.records import EntityDefinition, Run
from optimizer.control_plane.schema import check_schema
from optimizer.errors import ConfigError, PermanentError
from optimizer.names import DAG_PREFIX
from optimizer.runs.config_checks import check_run

log = logging.getLogger(__name__)

SETTLE_S = 5.0
MAX_RUNS_A_PASS = 50

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

    A row that can never run is failed at once with the reason on it.
    """
    check_schema(engine)
    for run, values in _settled(engine, wait=wait):
        _claim(run, values, engine=engine, now=now)
    waiting = claims.list_claimed(engine, limit=MAX_WAITING)
    return [_start_of(run) for run in waiting if dag_run_state(run.dag_id or "", run.dag_run_id or "") is None]


def _settled(engine: Engine, *, wait: Callable[[float], object]) -> list[tuple[Run, Mapping[str, str]]]:
    """The unclaimed rows that did not change for SETTLE_S seconds, with the values of each."""
    before = _look(engine)
    if not before:
        return []
    wait(SETTLE_S)
    after = _look(engine)
    return [(run, values) for run_id, (run, values) in after.items() if before.get(run_id) == (run, values)]


def _look(engine: Engine) -> dict[str, tuple[Run, dict[str, str]]]:
    found = runs.list_unclaimed(engine, limit=MAX_RUNS_A_PASS)
    return {run.run_id: (run, runs.read_run_values(engine, run.run_id)) for run in found}


def _claim(run: Run, values: Mapping[str, str], *, engine: Engine, now: datetime) -> None:
    try:
        definition = _read_entity(run, engine)
        _check_row(run, definition)
        check_run(definition, run, values=values, as_of=now)
    except PermanentError as error:
        if claims.refuse_run(engine, run.run_id, message=str(error), now=now):
            log.warning("run %s is refused: %s", run.run_id, error)
        return
    dag_id = DAG_PREFIX + definition.entity.entity_code
    if claims.claim_run(engine, run.run_id, dag_id=dag_id, now=now):
        log.info("run %s is claimed for %s", run.run_id, dag_id)


def _read_entity(run: Run, engine: Engine) -> EntityDefinition:
    code = claims.find_entity_code(engine, run.entity_id)
    if code is None:
        raise ConfigError(f"entity_id {run.entity_id} is not in opt_entities; insert the run of an entity that is")
    return entities.read_definition(engine, code)


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
