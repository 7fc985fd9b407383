"""What one answer holds at most: rows up to a limit, and bytes up to a budget that the statements keep."""

from collections.abc import Sequence
from typing import Any

from optimization_tracking.cursors import read_cursor, write_cursor
from optimization_tracking.database import Connection, Row, fetch_all
from optimization_tracking.models.answers import Pagination
from optimization_tracking.models.queries import ShortRowsPage
from optimization_tracking.queries import render_query

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of the rows of one kind in an answer; a single row may be longer."""


def cut(rows: Sequence[Row], *, limit: int) -> tuple[Sequence[Row], bool]:
    """Return the rows of a page, and whether more follow.

    Args:
        rows: as many of one more than `limit` as fit into the budget; `found` says how many there were.
    """
    page = rows[:limit]
    return page, bool(rows) and rows[0]["found"] > len(page)


async def list_short_rows(
    connection: Connection, query: str, page: ShortRowsPage, *, key: str, values: dict[str, Any]
) -> tuple[Sequence[Row], Pagination]:
    """Return a page of rows that are too short to need a budget of bytes, and where it stands.

    Args:
        query: takes row_limit and, where `after` is asked for, after_key.
        key: the text by which the rows are ordered, each with its own.
    """
    asked, values = set(), values | {"row_limit": page.limit + 1}
    if page.cursor is not None:
        (values["after_key"],) = read_cursor(page.cursor, order=query, kinds=(str,))
        asked.add("after")
    rows = await fetch_all(connection, render_query(query, asked=frozenset(asked)), values)
    found, has_more = rows[: page.limit], len(rows) > page.limit
    cursor = write_cursor(query, [found[-1][key]]) if has_more else None
    pagination = Pagination(total=None, limit=page.limit, offset=0, has_more=has_more, next_cursor=cursor)
    return found, pagination
