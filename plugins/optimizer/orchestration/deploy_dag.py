"""The DAG `deploy`: sets an entity's traffic split from Airflow's form, or rolls it back."""

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from optimizer.orchestration.task_defaults import task_defaults

log = logging.getLogger(__name__)

DEPLOY_DAG = "deploy"

_DOC = """\
### Set an entity's traffic split

**entity** the entity_code. **split** `RUN=PERCENT RUN=PERCENT`, 100 together, such as
`20260203_150000=80 20260201_120000=20`, or JSON such as `{"20260203_150000": 80, "20260201_120000": 20}`.
Or **rollback**: back to the split before the present one.

**Owner** the optimizer team. **Red** means that nothing was changed: the log of the red task says why.

**Rerun** a cleared `choose_split` decides again; a cleared `deploy_split` applies the earlier decision, once.
`optimizer deployments ENTITY` shows what is live and what was; `optimizer deploy` and `optimizer rollback` do the same.
"""


def build_deploy_dag() -> DAG:
    """Return the DAG; it is the same at every parse."""
    with DAG(
        DEPLOY_DAG,
        description="Set an entity's traffic split, or roll it back",
        schedule=None,
        catchup=False,
        dagrun_timeout=timedelta(hours=1),
        is_paused_upon_creation=False,
        params={
            "entity": Param("", type="string", minLength=1, title="Entity", description_md="The `entity_code`."),
            "split": Param(
                None,
                type=["null", "string", "object"],
                title="Split",
                description_md="`RUN=PERCENT RUN=PERCENT`, 100 together. Empty for a rollback.",
            ),
            "rollback": Param(
                False, type="boolean", title="Roll back", description_md="Go back to the split before the present one."
            ),
        },
        tags={"optimizer"},
        doc_md=_DOC,
        default_args=task_defaults(),
    ) as dag:

        @task(execution_timeout=timedelta(minutes=5))
        def choose_split() -> dict[str, Any]:
            """Return the split that was asked for, and on which deployments it was decided."""
            return _choose_split(get_current_context()["params"])

        @task(execution_timeout=timedelta(minutes=5))
        def deploy_split(choice: dict[str, Any]) -> dict[str, int]:
            """Replace the entity's split if it has not changed since; retries apply it once."""
            return _deploy_split(choice, get_current_context()["dag_run"])

        # Airflow gives the task the value; its types know only that.
        deploy_split(choose_split())  # type: ignore[arg-type]
    return dag


def _choose_split(params: Any) -> dict[str, Any]:
    from optimizer.control_plane import deployment_history, entities, rollbacks
    from optimizer.control_plane.splits import read_split
    from optimizer.deployment.served_files import file_problem, require_files
    from optimizer.deployment.split_settings import split_settings
    from optimizer.errors import DeploymentError
    from optimizer.orchestration.connections import connect_systems

    entity_code, split, systems = params["entity"], params["split"], connect_systems()
    if bool(split) == bool(params["rollback"]):
        raise DeploymentError(f"entity {entity_code}: give a split, or set rollback, and not both")
    if split:
        chosen = read_split(split, entity_code=entity_code)
        active = deployment_history.read_active(systems.engine, entity_code)
        require_files(chosen, entity_code=entity_code, engine=systems.engine, store=systems.store)
        return {
            "entity_code": entity_code,
            "split": chosen,
            "seen": [row.deployment_id for row in active],
            "control_pct": split_settings(entities.read_definition(systems.engine, entity_code)).control_pct,
        }
    plan = rollbacks.plan_rollback(systems.engine, entity_code, problem_of=partial(file_problem, store=systems.store))
    for reason in plan.skipped:
        log.warning("%s", reason)
    return {"entity_code": entity_code, "split": plan.split, "seen": list(plan.seen)}


def _deploy_split(choice: dict[str, Any], dag_run: Any) -> dict[str, int]:
    from optimizer.control_plane import deployments
    from optimizer.control_plane.audit import Author, system
    from optimizer.control_plane.deployments import SplitTerms
    from optimizer.control_plane.splits import percents_of
    from optimizer.deployment.control_notice import read_control_notice
    from optimizer.deployment.serving_snapshots import update_after_change
    from optimizer.orchestration.connections import connect_control_plane, connect_objects

    person, engine, now = getattr(dag_run, "triggering_user_name", None), connect_control_plane(), datetime.now(UTC)
    author, entity_code = Author(person) if person else system(DEPLOY_DAG), choice["entity_code"]
    terms = SplitTerms(control_pct=choice.get("control_pct", 0), seen=choice["seen"])
    active = deployments.deploy(
        engine, entity_code=entity_code, split=choice["split"], author=author, now=now, terms=terms
    )
    late = update_after_change(entity_code, engine=engine, store=connect_objects(), now=now)
    for notice in (late, read_control_notice(engine, entity_code)):
        if notice is not None:
            log.warning("%s", notice)
    return percents_of(active)
