"""The Airflow plugin: the console, the tracking API with its dashboard, and their links in Airflow's UI.

Only Airflow imports this module: from the entry point of the installed package, or as a file of its plugins folder.
Every Airflow process loads it, so heavy imports wait until the api-server reads `fastapi_apps`.

The console: users who may read an entity's DAG may read the entity, users who may trigger it may change it.
Tracking: users who may read DAGs may read the runs of every project; users who may trigger DAG runs may write them.
An API key is limited to its project, as in the standalone service.
"""

from collections.abc import Collection
from functools import cached_property
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

from optimizer.names import CONSOLE_PREFIX, DAG_PREFIX, DASHBOARD_PATH, TRACKING_PREFIX

RUN_TAB = "optimizer_run"
"""The route of the tab on a DAG run, below the DAG run's own page."""


class RunLink(BaseOperatorLink):
    """Leads from a task of an entity's DAG to the tab of its DAG run, which shows the optimizer run.

    Airflow asks it for every task of every DAG, and shows no link where it has none.
    """

    name = "Optimizer run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the tab; empty for tasks of other DAGs."""
        if not ti_key.dag_id.startswith(DAG_PREFIX):
            return ""
        parts = (quote(part, safe="") for part in ("dags", ti_key.dag_id, "runs", ti_key.run_id, "plugin", RUN_TAB))
        return f"{_base_path()}/{'/'.join(parts)}"


class OptimizerPlugin(AirflowPlugin):
    """Serves the console and optimization tracking, as far as their libraries are installed next to Airflow.

    Without OPTIMIZER_TRACKING_URL the tracking routes return 503 and name the variable.
    """

    name = "optimizer"

    # Airflow only reads these, so they need no setter.
    @property
    def global_operator_extra_links(self) -> list[Any]:  # type: ignore[override]
        """Links on the page of every task."""
        return [RunLink()] if _is_console_installed() else []

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        apps = []
        if _is_console_installed():
            apps.append({"name": "optimizer console", "url_prefix": CONSOLE_PREFIX, "app": self._console})
        if _is_tracking_installed():
            apps.append({"name": "optimization tracking", "url_prefix": TRACKING_PREFIX, "app": self._tracking})
        return apps

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Pages of the UI in a frame, and tabs of DAGs and DAG runs; the address follows what a frame shows.

        Airflow removes views that it cannot show from this list, so every read returns the same list.
        """
        path = _base_path()
        views: list[dict[str, Any]] = []
        if _is_console_installed():
            console = f"{path}{CONSOLE_PREFIX}/"
            icon = {"icon": f"{console}static/icon.svg"}
            views += [
                {**icon, "name": "Optimizer", "href": console, "url_route": "optimizer", "nav_top_level": True},
                {**icon, "name": "Optimizer", "href": f"{console}dags/{{DAG_ID}}", "url_route": "optimizer_client"}
                | {"destination": "dag"},
                {**icon, "name": "Optimizer", "href": f"{console}dags/{{DAG_ID}}/runs/{{RUN_ID}}"}
                | {"url_route": RUN_TAB, "destination": "dag_run"},
            ]
        if _is_tracking_installed():
            pages = f"{path}{TRACKING_PREFIX}{DASHBOARD_PATH}/"
            view = {"name": "Optimization", "href": pages, "icon": f"{pages}static/icon.svg"}
            views.append({**view, "url_route": "optimization", "destination": "nav", "category": "browse"})
        return views

    @cached_property
    def _console(self) -> Any:
        from optimizer.console.app import create_app
        from optimizer.orchestration.connections import connect_console_systems
        from optimizer.orchestration.dag_schedules import DagSchedules

        return create_app(
            connect=connect_console_systems,
            login=log_in_to_console,
            scheduler=DagSchedules(),
            mounted_at=CONSOLE_PREFIX,
            origins=_origins(),
        )

    @cached_property
    def _tracking(self) -> Any:
        from optimization_tracking.app import create_app
        from optimization_tracking.connections import read_url

        return create_app(database_url=read_url(), login=log_in, origins=_origins())


def _is_console_installed() -> bool:
    return all(find_spec(name) is not None for name in ("fastapi", "jinja2", "scipy", "sqlalchemy"))


def _is_tracking_installed() -> bool:
    return find_spec("psycopg_pool") is not None


def _base_url() -> str:
    from airflow.configuration import conf

    return str(conf.get("api", "base_url", fallback="") or "").rstrip("/")


def _base_path() -> str:
    """The path that a proxy serves Airflow under; the scheme and host are the browser's."""
    return urlsplit(_base_url()).path.rstrip("/")


def _origins() -> list[str]:
    parts = urlsplit(_base_url())
    return [f"{parts.scheme}://{parts.netloc}"] if parts.netloc else []


async def log_in(request: Any) -> Any:
    """Return the Airflow user of a bearer token or of the UI's cookie, as a visitor of tracking.

    Raises:
        HTTPException: 401 without a valid login, 403 for a user who may not read DAGs.
    """
    from optimization_tracking.auth import LoginUser

    user, manager = await _user(request)
    return LoginUser(user.get_name(), can_write=_may_trigger(manager, user, dag_id=None))


async def log_in_to_console(request: Any) -> Any:
    """Return the Airflow user of a bearer token or of the UI's cookie, as a visitor of the console.

    Raises:
        HTTPException: 401 without a valid login, 403 for a user who may not read DAGs.
    """
    from optimizer.console.access import Visitor

    user, manager = await _user(request)

    def readable(entity_codes: Collection[str]) -> set[str]:
        allowed = manager.filter_authorized_dag_ids(dag_ids={DAG_PREFIX + code for code in entity_codes}, user=user)
        return {dag_id.removeprefix(DAG_PREFIX) for dag_id in allowed}

    def writable(entity_codes: Collection[str]) -> set[str]:
        return {code for code in entity_codes if _may_trigger(manager, user, dag_id=DAG_PREFIX + code)}

    return Visitor(user.get_name(), readable=readable, writable=writable)


async def _user(request: Any) -> tuple[Any, Any]:
    """The user and Airflow's auth manager."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
    from fastapi import HTTPException

    user = await get_user(request, None, await bearer_scheme(request))
    manager = get_auth_manager()
    if not manager.is_authorized_dag(method="GET", user=user):
        raise HTTPException(403, "your Airflow user may not read DAGs")
    return user, manager


def _may_trigger(manager: Any, user: Any, *, dag_id: str | None) -> bool:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

    details = None if dag_id is None else DagDetails(id=dag_id)
    return bool(manager.is_authorized_dag(method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user))
