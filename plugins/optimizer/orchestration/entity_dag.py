"""One DAG per entity: the order of its tasks, and what happens when one fails. The steps are in optimizer.steps."""

import logging
from collections.abc import Callable
from datetime import timedelta

import attrs
from airflow.sdk import DAG, CronTriggerTimetable, chain
from airflow.sdk.definitions.param import ParamsDict

from optimizer.control_plane.entities import read_definitions
from optimizer.control_plane.entity_removals import read_confirmed_count
from optimizer.control_plane.records import EntityDefinition
from optimizer.core.config.schedule import check_schedule
from optimizer.core.config.settings import RunSettings
from optimizer.names import DAG_PREFIX
from optimizer.orchestration import entity_tasks
from optimizer.orchestration.approval import PromotionApproval, answer_form
from optimizer.orchestration.connections import connect_control_plane
from optimizer.orchestration.deadline import Answer, within
from optimizer.orchestration.definitions import load_definitions, read_last_good, snapshot_path
from optimizer.orchestration.entity_problems import write_problems
from optimizer.orchestration.shards import WHOLE, Shard
from optimizer.orchestration.task_defaults import task_defaults
from optimizer.orchestration.trigger_form import build_params, effective_value
from optimizer.runs.limits import LONGEST_RUN

log = logging.getLogger(__name__)

PARSE_DEADLINE_S = 10
"""For all that a parse asks the control plane: Airflow throws away a DAG file that takes 30 s, its imports included."""

_DOC = """\
### {name}

Learns from the bids of SSP client `{code}` (object {object_id}) and says what to bid next; version {version}.

**Owner** the optimizer team. **Outputs** `{s3_base_path}`. **Config** `optimizer config {code}`.

**Readiness** `optimizer status {code}`: learning, limited, on target or off target, and what is live.

**Rerun** trigger this DAG again: every run has a row, a prefix and a manifest of its own. A task that failed because a
system was away retries automatically; clearing a task of a run whose row is finished does nothing but say so.

**Approval** where `promotion` is `approval`, the task `approve` waits for an answer: Required Actions in this UI. While
it waits no other run of this DAG starts.

**Validation** ends `passed` (the run can go live), `passed with n warnings` (a warning that holds the run skips
`promote`, whose log says what to do; the run can still be approved or deployed by hand) or `failed` (it can never go
live). The log of `validate` and `optimizer show RUN` list the checks.

**Red** means that nothing was promoted: the reason is in the log of `close_run` and on the run (`optimizer show RUN`).
"""


def build_entity_dags(*, only: str | None = None, shard: Shard = WHOLE) -> list[DAG]:
    """Return the DAGs of the shard's active entities, or only the DAG that is running, even if its entity is inactive.

    Args:
        only: the dag_id that is being run.
        shard: which part of the entities this DAG file builds, where there are several such files.
    """
    dags = []
    for definition in _definitions(only):
        is_wanted = only is not None or (definition.entity.status == "A" and shard.takes(definition.entity.entity_code))
        if not is_wanted:
            continue
        try:
            dags.append(build_entity_dag(definition))
        except Exception:  # one entity's mistake must not take the other DAGs of this file away
            log.exception("entity %s is invalid: its DAG cannot be built", definition.entity.entity_code)
    return dags


def dag_id_of(definition: EntityDefinition) -> str:
    """Return the entity's dag_id."""
    return DAG_PREFIX + definition.entity.entity_code


def build_entity_dag(definition: EntityDefinition) -> DAG:
    """Return the entity's DAG; the same definition always gives the same DAG.

    Raises:
        ConfigError: its schedule is not one that fires.
    """
    # Airflow would notice only when it serializes the DAG, and then drop every DAG of the file.
    check_schedule(definition.schedule)
    entity, longest_wait = definition.entity, _longest_wait(definition)
    with DAG(
        dag_id_of(definition),
        description=f"Daily bids of {entity.entity_name}",
        schedule=CronTriggerTimetable(schedule, timezone="UTC") if (schedule := definition.schedule) else None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=LONGEST_RUN + longest_wait,
        is_paused_upon_creation=False,
        tags={"optimizer", entity.object_type},
        doc_md=_DOC.format(
            name=entity.entity_name,
            code=entity.entity_code,
            object_id=entity.object_id,
            version=definition.version_code,
            s3_base_path=entity.s3_base_path,
        ),
        default_args=task_defaults(),
    ) as dag:
        _wire(entity.entity_code, longest_wait=longest_wait, training_slots=_whole_number("training_slots", definition))
    # Given to the DAG at once, each task would copy all fields of the form: 6 times the DAG's size. Validated here, the
    # schemas of the same fields would be checked again for each DAG; `build_params` has checked the values.
    with attrs.validators.disabled():
        dag.params = ParamsDict(build_params(definition))
    return dag


def _longest_wait(definition: EntityDefinition) -> timedelta:
    """How long a run may wait for approval, on top of its other tasks."""
    return timedelta(hours=_whole_number("approval_timeout_hours", definition))


def _whole_number(name: str, definition: EntityDefinition) -> int:
    """The entity's value of a key, as a part of its DAG."""
    key = next((key for key in definition.config_keys if key.config_key == name), None)
    value = effective_value(key, definition) if key else None
    return int(getattr(RunSettings(), name) if value is None else value)


def _wire(entity_code: str, *, longest_wait: timedelta, training_slots: int) -> None:
    # Always present, since a DAG has the same tasks at every parse; it asks only if the run's config says so.
    approve = PromotionApproval(
        task_id="approve", longest_wait=longest_wait, params=answer_form(), execution_timeout=timedelta(minutes=5)
    )
    # Each task reads the run from snapshot_config's XCom itself: as an argument it would draw an edge to every task.
    chain(
        entity_tasks.snapshot_config(entity_code),
        entity_tasks.extract(),
        entity_tasks.select_features(),
        entity_tasks.train_models.override(pool_slots=training_slots)(),
        entity_tasks.compute_bids(),
        entity_tasks.validate(),
        entity_tasks.upload(),
        entity_tasks.register(),
        approve,
        entity_tasks.promote(approve.output),  # type: ignore[arg-type]  # the task gets the value; its type knows only that
        # As a teardown it also runs if a user marks the DAG run failed.
        entity_tasks.close_run().as_teardown(on_failure_fail_dagrun=True),
    )


def _definitions(only: str | None) -> list[EntityDefinition]:
    """A running task needs its own DAG and no database; all other parses read the control plane."""
    path = snapshot_path()
    if only is not None and (kept := read_last_good(path, only=only.removeprefix(DAG_PREFIX))):
        return kept
    loaded = load_definitions(
        lambda: _asked(lambda: read_definitions(connect_control_plane())),
        path=path,
        confirmed_count=lambda: _asked(lambda: read_confirmed_count(connect_control_plane())),
    )
    write_problems(path, loaded.problems)
    return [one for one in loaded.definitions if only is None or dag_id_of(one) == only]


def _asked(ask: Callable[[], Answer]) -> Answer:
    return within(PARSE_DEADLINE_S, ask, what="the control plane")
