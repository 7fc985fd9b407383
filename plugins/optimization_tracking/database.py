"""Transactions of the service, each for the projects of one caller."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from optimization_tracking.queries import render_query

Row = dict[str, Any]
Connection = AsyncConnection[Any]


class Database:
    """The tracking database behind a pool of connections."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self.pool = pool

    @asynccontextmanager
    async def transaction(self, projects: Sequence[str]) -> AsyncIterator[Connection]:
        """Give a connection that sees these projects and no other; what it wrote is committed at the end of the block.

        Raises:
            PoolTimeout: no connection became free, or the database does not answer.
        """
        async with self.pool.connection() as connection:
            # Two statements in one message: the driver quotes the values. The pool ends the transaction.
            async with AsyncClientCursor(connection) as cursor:
                await cursor.execute(render_query("begin_as"), {"projects": list(projects)})
            yield connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Give a connection that sees no project, for questions that come before the caller is known."""
        async with self.pool.connection() as connection:
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
