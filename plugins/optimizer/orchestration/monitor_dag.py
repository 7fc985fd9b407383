"""The DAG `monitor`: every day, each entity's live runs, and an alert where one is below target."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from optimizer.orchestration.entity_dag import task_defaults

log = logging.getLogger(__name__)

MONITOR_DAG = "monitor"
SCHEDULE = "30 2 * * *"
"""Yesterday is complete by then, and most of its late events have arrived."""

_DOC = """\
### Watch what the live runs really bring

Compares win rate, CPM, click rate and margin of every active run with its forecast and with the control in the split,
and writes them to opt_run_metrics, section `live` (`optimizer live ENTITY`). A canary is promoted
where it is on target, and rolled back where it is below. Where an entity's `auto_rollback`
is on, a run that is below target is rolled back to the split before.

**Owner** the optimizer team. **Red** `raise_alerts` is red where a run is below target, after everything is written and
done; its log has the alerts. A red `watch` is an entity that could not be looked at; the others were.

**Rerun** trigger it again, for one entity or for all: the numbers of the same days are replaced.
"""


def build_monitor_dag() -> DAG:
    """Return the DAG; it is the same at every parse."""
    with DAG(
        MONITOR_DAG,
        description="Compare live runs with their forecast and their control",
        schedule=CronTriggerTimetable(SCHEDULE, timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=3),
        is_paused_upon_creation=False,
        params={
            "entity": Param(
                None, type=["null", "string"], title="Entity", description_md="Only this `entity_code`. Empty: all."
            )
        },
        tags={"optimizer"},
        doc_md=_DOC,
        default_args=task_defaults(),
    ) as dag:

        @task(execution_timeout=timedelta(minutes=5))
        def list_entities() -> list[str]:
            """Return the entities that have a live run."""
            return _list_entities(get_current_context()["params"]["entity"])

        @task(
            execution_timeout=timedelta(minutes=30), map_index_template="{{ entity_code }}", max_active_tis_per_dagrun=4
        )
        def watch(entity_code: str) -> dict[str, Any]:
            """Measure one entity's live runs and do what follows."""
            return _watch(entity_code)

        @task(execution_timeout=timedelta(minutes=5), trigger_rule=TriggerRule.ALL_DONE)
        def raise_alerts(found: Any, entity_codes: list[str] | None) -> None:
            """Fail with all alerts, so that Airflow's usual notification of failures reports them."""
            _raise_alerts(found, entity_codes)

        entity_codes = list_entities()
        # Airflow gives the task the values; its types know only those.
        raise_alerts(watch.expand(entity_code=entity_codes), entity_codes)  # type: ignore[arg-type]
    return dag


def _list_entities(only: str | None) -> list[str]:
    from optimizer.control_plane import deployments, entities
    from optimizer.orchestration.connections import connect_control_plane

    engine = connect_control_plane()
    if only:
        return [entities.read_definition(engine, only).entity.entity_code]
    codes = [row.entity.entity_code for row in entities.read_definitions(engine)[0] if row.entity.status == "A"]
    return [code for code in codes if deployments.read_active(engine, code)]


def _watch(entity_code: str) -> dict[str, Any]:
    from optimizer.deployment.monitor import monitor_entity
    from optimizer.orchestration.connections import connect_systems

    context: Any = get_current_context()
    context["entity_code"] = entity_code
    found = monitor_entity(entity_code, systems=connect_systems(), now=datetime.now(UTC))
    for line in (*found["runs"], *found["actions"]):
        log.info("%s", line)
    for line in found["alerts"]:
        log.warning("%s", line)
    return found


def _raise_alerts(found: Any, entity_codes: list[str] | None) -> None:
    if entity_codes is None:
        raise AirflowFailException("no entity was looked at; see the log of `list_entities`")
    reports = list(found or ())
    missing = sorted(set(entity_codes) - {report["entity_code"] for report in reports})
    alerts = [alert for report in reports for alert in report["alerts"]]
    alerts += [
        f"entity {code}: its live runs could not be looked at; see the log of its `watch` task" for code in missing
    ]
    if alerts:
        raise AirflowFailException(f"{len(alerts)} alerts:\n" + "\n".join(alerts))
