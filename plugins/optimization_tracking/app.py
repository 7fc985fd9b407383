"""The service, put together: alone under /api/optimization, or mounted there in Airflow's api-server."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from fastapi import APIRouter, FastAPI
from starlette.types import Lifespan

from optimization_tracking.auth import WRONG_KEYS_BURST, Door, Login
from optimization_tracking.connections import DEFAULT_POOL_SIZE, open_pool
from optimization_tracking.dashboard.app import mount_dashboard
from optimization_tracking.database import Database
from optimization_tracking.openapi import publish
from optimization_tracking.problem_details import install
from optimization_tracking.refreshing import REFRESH_S, refresh_forever
from optimization_tracking.removing import REMOVE_S, remove_forever
from optimization_tracking.routes import analytics, comparing, health, iterations, leases, runs, samples
from optimization_tracking.safe_headers import SafeHeaders
from optimizer.presentation.web.api_docs import add_api_docs

VERSION = "1.0.0"


def create_app(
    *,
    database_url: str | None,
    login: Login | None = None,
    prefix: str = "",
    origins: Iterable[str] = (),
    pool_size: int = DEFAULT_POOL_SIZE,
    refresh_s: float | None = REFRESH_S,
    wrong_keys_burst: int = WRONG_KEYS_BURST,
) -> FastAPI:
    """Return the ASGI app. Its lifespan opens the connections; a database that is away makes it answer 503, not fail.

    Args:
        database_url: postgresql://user@host/database; without one every route answers 503.
        login: lets in users without an API key, e.g. Airflow's.
        prefix: the path before every route, where the app is not mounted below it.
        origins: other origins than this server's whose pages may write with a cookie, e.g. https://airflow.example.com.
        refresh_s: how often the analytics are refreshed; None leaves it, and the removal of deleted runs, to others.
        wrong_keys_burst: the wrong keys that an address may send at once before it has to wait.

    Raises:
        ConfigError: the URL cannot be read.
    """
    database = Database(open_pool(database_url, size=pool_size)) if database_url else None

    app = FastAPI(
        title="Optimization tracking",
        version=VERSION,
        description="Runs, iterations and samples of any optimizer.",
        lifespan=_lifespan(database, refresh_s=refresh_s),
        openapi_url=f"{prefix}/openapi.json",
        docs_url=None,  # both pages load scripts from elsewhere; ours does not
        redoc_url=None,
    )
    app.state.database = database
    app.state.door = Door(login=login, origins=frozenset(origins), wrong_keys_burst=wrong_keys_burst)
    root = APIRouter(prefix=prefix)
    for module in (runs, leases, iterations, samples, comparing, analytics, health):
        root.include_router(module.router)
    app.include_router(root)
    mount_dashboard(app, prefix=prefix, database=database, door=app.state.door, database_url=database_url)
    add_api_docs(app, title=app.title, path=f"{prefix}/docs", description=f"{prefix}/openapi.json")
    install(app)
    app.add_middleware(SafeHeaders)
    publish(app)
    return app


def _lifespan(database: Database | None, *, refresh_s: float | None) -> Lifespan[FastAPI]:
    """Hold the connections, refresh the analytics and remove deleted runs while the app is served."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if database is None:
            yield
            return
        await database.pool.open(wait=False)
        tasks = []
        if refresh_s:
            tasks.append(asyncio.create_task(refresh_forever(database, interval_s=refresh_s)))
            tasks.append(asyncio.create_task(remove_forever(database, interval_s=min(refresh_s, REMOVE_S))))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await database.pool.close()

    return lifespan
