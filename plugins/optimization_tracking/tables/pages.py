"""What one answer holds at most: rows up to a limit, and bytes up to a budget that the statements keep."""

from collections.abc import Sequence

from optimization_tracking.database import Row

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of the rows of one kind in an answer; a single row may be longer."""


def cut(rows: Sequence[Row], *, limit: int) -> tuple[Sequence[Row], bool]:
    """Return the rows of a page, and whether more follow.

    Args:
        rows: as many of one more than `limit` as fit into the budget; `found` says how many there were.
    """
    page = rows[:limit]
    return page, bool(rows) and rows[0]["found"] > len(page)
