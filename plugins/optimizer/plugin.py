"""The plugin of Airflow: the tracking API and its dashboard in the api-server, and a link to it in the UI.

Airflow imports this file alone, by its own name; nobody else does. Every process of Airflow reads it, so what is heavy
is imported where the api-server asks for it.

Who may read DAGs may read the runs of every project; who may trigger DAG runs may write them. API keys keep to their
project here as everywhere.
"""

from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

from optimizer.names import DASHBOARD_PATH, TRACKING_PREFIX


class OptimizerPlugin(AirflowPlugin):
    """Serves optimization tracking; without OPTIMIZER_TRACKING_URL its routes answer 503 and say so."""

    name = "optimizer"

    # Airflow only reads the two, so they need no setter.
    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return [{"name": "optimization tracking", "url_prefix": TRACKING_PREFIX, "app": self._tracking}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """A page of the UI with the dashboard in a frame; its address follows what the frame shows.

        Airflow takes views out of this list that it cannot show, so it is one and the same list.
        """
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


async def log_in(request: Any) -> Any:
    """Return the Airflow user of a bearer token or of the UI's cookie.

    Raises:
        HTTPException: 401 for nobody, 403 for a user who may not even read DAGs.
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
