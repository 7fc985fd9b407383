"""The dashboard as an app of its own, mounted below the API: its refusals are pages, and it is not part of OpenAPI."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import RedirectResponse

from optimization_tracking.auth import Door
from optimization_tracking.dashboard import comparing, detail, failures, judging, lists, signing
from optimization_tracking.dashboard.rendering import STATIC
from optimization_tracking.dashboard.sessions import Sessions
from optimization_tracking.database import Database
from optimizer.names import DASHBOARD_PATH
from optimizer.presentation.web.assets import Assets


def mount_dashboard(
    app: FastAPI, *, prefix: str, database: Database | None, door: Door, database_url: str | None
) -> None:
    """Serve the dashboard at `prefix`/dashboard/; without a login, users sign in with an API key."""
    dashboard = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    dashboard.state.database = database
    dashboard.state.door = door
    dashboard.state.sessions = Sessions(database_url) if database_url and door.login is None else None
    for module in (lists, judging, detail, comparing, signing):
        dashboard.include_router(module.router)
    dashboard.include_router(detail.named)
    dashboard.mount("/static", Assets(STATIC))
    failures.install(dashboard)
    app.include_router(_entrance(prefix))
    app.mount(f"{prefix}{DASHBOARD_PATH}", dashboard)


def _entrance(prefix: str) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get(f"{prefix}{DASHBOARD_PATH}")
    async def enter(request: Request) -> RedirectResponse:
        # Relative to this address, independent of the proxy's host and scheme.
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{DASHBOARD_PATH[1:]}/{query}", status_code=307)

    return router
