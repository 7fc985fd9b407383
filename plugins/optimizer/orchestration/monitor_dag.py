"""The DAG `monitor`: every day, each entity's live runs, and an alert where one is below target."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from optimizer.names import MONITOR_DAG
from optimizer.orchestration.task_defaults import task_defaults

log = logging.getLogger(__name__)

SCHEDULE = "30 2 * * *"
"""Yesterday is complete by then, and most of its late events have arrived."""

PARTS = 32
"""So many tasks look at the entities: each is a process, and Airflow maps no more than `max_map_length` of them."""

_DOC = """\
### Watch what the live runs really bring

Compares win rate, CPM, click rate and margin of every active run with its forecast and with the control in the
split, and writes them to opt_live_daily, opt_live_verdicts and opt_live_savings (`optimizer live ENTITY`).

- A canary goes to its next step where it is on target, and is rolled back where it is below.
- If an entity's `auto_rollback` is on, a run that is below target is rolled back to the split before.
- A run that spent more than `max_overspend` above its forecast is taken off.
- While the bidder does not split the traffic as deployed, nothing is changed that a comparison of runs would decide.

**Owner** the optimizer team. **Red** `raise_alerts` is red where something was alerted, such as a run below target,
or an entity could not be looked at, after everything is written and done; its log has the alerts. A red `watch` is a
part of the entities that could not be looked at, because a system was silent; the others were.

`report_readiness` sets the gauges `optimizer.readiness.<entity>`, `win_rate`, `cpm` and `saved` for every active entity
(`optimizer status`).

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
        def list_entities() -> list[list[str]]:
            """Return the entities that have a live run, or an open alert of an earlier one, in PARTS parts at most."""
            return parts_of(_list_entities(get_current_context()["params"]["entity"]))

        @task(execution_timeout=timedelta(hours=2), map_index_template="{{ entities }}", max_active_tis_per_dagrun=4)
        def watch(entity_codes: list[str]) -> list[dict[str, Any]]:
            """Measure the live runs of each of the entities and do what follows."""
            return _watch(entity_codes)

        @task(execution_timeout=timedelta(minutes=5), trigger_rule=TriggerRule.ALL_DONE)
        def raise_alerts(found: Any, parts: list[list[str]] | None) -> None:
            """Fail with all alerts, so that Airflow's usual notification of failures reports them."""
            _raise_alerts(found, parts)

        @task(execution_timeout=timedelta(minutes=5), trigger_rule=TriggerRule.ALL_DONE)
        def report_readiness() -> dict[str, str]:
            """Set the gauges of every active entity, and return its readiness."""
            return _report_readiness()

        parts = list_entities()
        # Airflow gives the task the values; its types know only those.
        found = watch.expand(entity_codes=parts)
        raise_alerts(found, parts)  # type: ignore[arg-type]
        found >> report_readiness()
    return dag


def _list_entities(only: str | None) -> list[str]:
    from optimizer.control_plane import entities
    from optimizer.deployment.monitor import list_watched
    from optimizer.orchestration.connections import connect_control_plane

    engine = connect_control_plane()
    if only:
        return [entities.read_definition(engine, only).entity.entity_code]
    return list_watched(engine)


def parts_of(entity_codes: Sequence[str]) -> list[list[str]]:
    """Return the entities in PARTS parts at most, none of them empty and all about as large."""
    return [list(entity_codes[first::PARTS]) for first in range(min(PARTS, len(entity_codes)))]


def _watch(entity_codes: list[str]) -> list[dict[str, Any]]:
    from optimizer.deployment.monitor import monitor_entities
    from optimizer.orchestration import notifiers
    from optimizer.orchestration.connections import connect_control_plane, connect_systems

    context: Any = get_current_context()
    context["entities"] = ", ".join(entity_codes[:3]) + (", …" if len(entity_codes) > 3 else "")

    def tell(report: dict[str, Any]) -> None:
        for line in (*report["runs"], *report["actions"]):
            log.info("%s", line)
        for line in report["alerts"]:
            log.warning("%s", line)
        notifiers.send_due(report["entity_code"], connect=connect_control_plane)

    systems = connect_systems({"entities": context["entities"], "task": "monitor"})
    return monitor_entities(entity_codes, systems=systems, now=datetime.now(UTC), after_each=tell)


def _report_readiness() -> dict[str, str]:
    from optimizer.control_plane.engine import ANSWER_TIMEOUT_S
    from optimizer.deployment.readiness import read_statuses
    from optimizer.orchestration.connections import connect_control_plane
    from optimizer.orchestration.readiness_gauges import send_gauges

    engine = connect_control_plane(answer_timeout_s=ANSWER_TIMEOUT_S)
    statuses = read_statuses(engine, now=datetime.now(UTC))
    log.info("%d gauges set", send_gauges(statuses))
    for status in statuses:
        log.info("%s is %s: %s", status.entity_code, status.readiness.word, status.readiness.sentence)
    return {status.entity_code: status.readiness.word for status in statuses}


def _raise_alerts(found: Any, parts: list[list[str]] | None) -> None:
    if parts is None:
        raise AirflowFailException("no entity was looked at; see the log of `list_entities`")
    reports = [report for part in found or () for report in part]
    missing = sorted({code for part in parts for code in part} - {report["entity_code"] for report in reports})
    alerts = [alert for report in reports for alert in report["alerts"]]
    alerts += [
        f"entity {code}: its live runs could not be looked at; see the log of its `watch` task" for code in missing
    ]
    if alerts:
        raise AirflowFailException(f"{len(alerts)} alerts:\n" + "\n".join(alerts))
