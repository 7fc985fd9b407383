"""The Airflow plugin: the tracking API and its dashboard in the api-server, and a link to the dashboard in the UI.

Only Airflow imports this module: from the entry point of the installed package, or as a file of its plugins folder.
Every Airflow process loads it, so heavy imports wait until the api-server reads `fastapi_apps`.

Users who may read DAGs may read the runs of every project; users who may trigger DAG runs may write them. An API key is
limited to its project, as in the standalone service.
"""

from functools import cached_property
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

from optimizer.names import DASHBOARD_PATH, TRACKING_PREFIX


class OptimizerPlugin(AirflowPlugin):
    """Serves optimization tracking. Without OPTIMIZER_TRACKING_URL its routes return 503 and name the variable.

    Where only the tracking client is installed next to Airflow, the plugin adds nothing.
    """

    name = "optimizer"

    # Airflow only reads the two, so they need no setter.
    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        if not _is_service_installed():
            return []
        return [{"name": "optimization tracking", "url_prefix": TRACKING_PREFIX, "app": self._tracking}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """A page of the UI with the dashboard in a frame; its address follows what the frame shows.

        Airflow removes views that it cannot show from this list, so every read returns the same list.
        """
        if not _is_service_installed():
            return []
        from airflow.configuration import conf

        # Below the path that a proxy serves Airflow under; the scheme and host are the browser's.
        path = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
        pages = f"{path}{TRACKING_PREFIX}{DASHBOARD_PATH}/"
        view = {"name": "Optimization", "href": pages, "icon": f"{pages}static/icon.svg", "url_route": "optimization"}
        return [{**view, "destination": "nav", "category": "browse"}]

    @cached_property
    def _tracking(self) -> Any:
        from airflow.configuration import conf

        from optimization_tracking.app import create_app
        from optimization_tracking.connections import read_url

        origin = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
        return create_app(database_url=read_url(), login=log_in, origins=[origin] if origin else [])


def _is_service_installed() -> bool:
    return find_spec("psycopg_pool") is not None


async def log_in(request: Any) -> Any:
    """Return the Airflow user of a bearer token or of the UI's cookie.

    Raises:
        HTTPException: 401 without a valid login, 403 for a user who may not read DAGs.
    """
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
    from fastapi import HTTPException

    from optimization_tracking.auth import Visitor

    user = await get_user(request, None, await bearer_scheme(request))
    manager = get_auth_manager()
    if not manager.is_authorized_dag(method="GET", user=user):
        raise HTTPException(403, "your Airflow user may not read DAGs")
    can_write = manager.is_authorized_dag(method="POST", access_entity=DagAccessEntity.RUN, user=user)
    return Visitor(user.get_name(), can_write=can_write)
