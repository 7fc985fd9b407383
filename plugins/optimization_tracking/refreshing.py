"""What the service does on a schedule: refresh the analytics, forget old idempotency keys and audit rows."""

import asyncio
import logging
from datetime import timedelta

import psycopg
from psycopg_pool import PoolTimeout

from optimization_tracking.database import Connection, Database
from optimization_tracking.idempotency import KEPT
from optimization_tracking.queries import render_query

REFRESH_S = 60.0
AUDIT_KEPT = timedelta(days=90)

_log = logging.getLogger(__name__)


async def refresh_forever(database: Database, *, interval_s: float = REFRESH_S) -> None:
    """Refresh the analytics every so often, where runs changed meanwhile, until it is cancelled.

    A database that is away is asked again at the next turn.
    """
    seen = None
    while True:
        try:
            async with database.connection("refresh") as connection:
                changes = await _count_changes(connection)
                if changes != seen and await refresh(connection):
                    seen = changes
                await connection.execute("SELECT optimization_forget_idempotency_keys(%s)", [KEPT])
                await connection.execute("SELECT optimization_forget_audit(%s)", [AUDIT_KEPT])
        except (psycopg.Error, PoolTimeout) as error:
            _log.warning("the analytics are not refreshed: %s", type(error).__name__)
        await asyncio.sleep(interval_s)


async def refresh(connection: Connection) -> bool:
    """Refresh the analytics, and return whether; False where another process is just doing it."""
    row = await (await connection.execute("SELECT refresh_optimization_analytics()")).fetchone()
    return bool(row and row[0])


async def _count_changes(connection: Connection) -> int:
    """Return how often runs were written, as Postgres counts it; another number than before means that some were."""
    row = await (await connection.execute(render_query("count_changes"))).fetchone()
    return int(row[0]) if row else 0
