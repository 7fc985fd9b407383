"""Transactions of the service, each for the projects of one caller."""

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from optimization_tracking.connections import POOL_TIMEOUT_S
from optimization_tracking.lanes import Lanes
from optimization_tracking.queries import render_query

Row = dict[str, Any]
Connection = AsyncConnection[Any]


class Database:
    """The tracking database behind a pool of connections, half of which one caller may have at once."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self.pool = pool
        share = max(1, pool.max_size // 2)
        self._lanes = Lanes(share, wait_s=POOL_TIMEOUT_S, refuse=lambda: PoolTimeout("the caller's share is in use"))

    @asynccontextmanager
    async def transaction(self, projects: Sequence[str], *, actor: str = "") -> AsyncIterator[Connection]:
        """Give a connection that sees these projects and no other; what it wrote is committed at the end of the block.

        Args:
            actor: who writes, for the audit.

        Raises:
            PoolTimeout: no connection became free, or the database does not answer.
        """
        async with self.connection(tuple(projects)) as connection:
            # Two statements in one message: the driver quotes the values. The pool ends the transaction.
            async with AsyncClientCursor(connection) as cursor:
                await cursor.execute(render_query("begin_as"), {"projects": list(projects), "actor": actor})
            yield connection

    @asynccontextmanager
    async def connection(self, lane: Hashable) -> AsyncIterator[Connection]:
        """Give a connection that sees no project, for questions that come before the caller is known.

        Args:
            lane: whose share of the connections it counts to.

        Raises:
            PoolTimeout: as `transaction`.
        """
        async with self._lanes.take(lane), self.pool.connection() as connection:
            yield connection


async def fetch_all(connection: Connection, query: bytes, values: dict[str, Any]) -> list[Row]:
    """Return every row of a statement as {column: value}."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def fetch_one(connection: Connection, query: bytes, values: dict[str, Any]) -> Row | None:
    """Return the first row of a statement as {column: value}, or None."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchone()
