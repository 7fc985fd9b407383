"""The console as an ASGI app."""

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache

from fastapi import FastAPI

from optimizer.bidder.inspection import Inspector
from optimizer.bidder.openrtb.settings import openrtb_from
from optimizer.console import failures
from optimizer.console.access import Login
from optimizer.console.bounded_bodies import BoundedBodies
from optimizer.console.context import Connected, Scheduler
from optimizer.console.rendering import STATIC
from optimizer.console.routes import (
    client,
    clients,
    compare,
    funnel,
    inspect,
    runs,
    settings,
    split,
    split_api,
    what_if,
)
from optimizer.control_plane.entity_outlines import KeptOutlines
from optimizer.names import CONSOLE_API_PATH
from optimizer.presentation.web.api_docs import add_api_docs
from optimizer.presentation.web.assets import Assets
from optimizer.runs.kept_what_ifs import KeptWhatIfs
from optimizer.runs.published_runs import PublishedRuns
from optimizer.runs.systems import Systems

VERSION = "1.0.0"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _connected(systems: Systems) -> Connected:
    inspector = Inspector(systems.engine, systems.store, openrtb=openrtb_from(os.environ))
    return Connected(systems, inspector, KeptWhatIfs(), KeptOutlines())


def create_app(
    *,
    connect: Callable[[], Systems],
    login: Login,
    scheduler: Scheduler,
    mounted_at: str = "",
    origins: Iterable[str] = (),
    clock: Callable[[], datetime] = _utc_now,
) -> FastAPI:
    """Return the app.

    Args:
        connect: opens the systems; called once, at the first request.
        login: returns the visitor of a request.
        scheduler: knows the schedules of the entities' DAGs.
        mounted_at: the path at which the server mounts the app.
        origins: other origins than this server's whose pages may write with a cookie, e.g. https://airflow.example.com.
        clock: returns the present time, with its zone.
    """
    app = FastAPI(
        title="RTB optimizer console",
        version=VERSION,
        description="Clients, runs, forecasts and traffic splits: what the console's pages show and do, as JSON.",
        openapi_url=f"{CONSOLE_API_PATH}/openapi.json",
        docs_url=None,  # both pages load scripts from elsewhere; ours does not
        redoc_url=None,
    )
    app.state.connect = cache(lambda: _connected(connect()))
    app.state.login = login
    app.state.scheduler = scheduler
    app.state.mounted_at = mounted_at
    app.state.origins = frozenset(origins)
    app.state.clock = clock
    app.state.published = PublishedRuns()
    for module in (clients, client, settings, what_if, inspect, funnel, compare, runs, split, split_api):
        app.include_router(module.router)
    description = f"{CONSOLE_API_PATH}/openapi.json"
    add_api_docs(app, title=app.title, path=f"{CONSOLE_API_PATH}/docs", description=description)
    app.mount("/static", Assets(STATIC))
    app.add_middleware(BoundedBodies)
    failures.install(app)
    return app
