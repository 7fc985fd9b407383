"""Removal of deleted runs: nobody sees them any more, and their rows go in portions, so that nobody waits for that."""

import asyncio
import logging

import psycopg
from psycopg_pool import PoolTimeout

from optimization_tracking.database import Connection, Database

REMOVE_S = 5.0
PORTION_ROWS = 10_000
PAUSE_S = 0.05
"""Between two portions: other requests come first."""

_log = logging.getLogger(__name__)


async def remove_forever(database: Database, *, interval_s: float = REMOVE_S) -> None:
    """Remove what is deleted, and look for more every so often, until it is cancelled.

    What a process that ends leaves is removed by the next one; a database that is away is asked again at the next turn.
    """
    while True:
        try:
            while await _remove_portion(database):
                await asyncio.sleep(PAUSE_S)
        except (psycopg.Error, PoolTimeout) as error:
            _log.warning("deleted runs are not removed: %s", type(error).__name__)
        await asyncio.sleep(interval_s)


async def _remove_portion(database: Database) -> bool:
    async with database.connection("removal") as connection:
        return await remove(connection) > 0


async def remove(connection: Connection) -> int:
    """Remove up to PORTION_ROWS rows of a deleted run, and return their number; 0 where nothing is left to do."""
    row = await (await connection.execute("SELECT optimization_remove_deleted(%s)", [PORTION_ROWS])).fetchone()
    return row[0] if row else 0
