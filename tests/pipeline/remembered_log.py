"""A log that stays as it is: the warehouse is asked once, and the answer is given again.

To aggregate the log takes the warehouse longer than a run takes for its bids, and most runs ask the same. The warehouse
executes each statement once, and a statement that differs in one value is another one.
"""

from collections.abc import Callable, Iterator
from typing import Any

from snowflake.connector.errors import ProgrammingError

Answer = tuple[list[Any], Any] | ProgrammingError
"""Rows, or Arrow tables, with the description of their columns; or what the statement was refused with."""


class RememberedLog:
    """Opens connections that share what any of them was answered.

    Args:
        has_ended: whether the log ended before anybody asked: the present, which some ask with, then changes nothing.
    """

    def __init__(self, connect: Callable[[], Any], *, has_ended: bool) -> None:
        self.connect_warehouse, self.has_ended = connect, has_ended
        self.answers = dict[tuple[str, ...], Answer]()

    def connect(self) -> "RememberingConnection":
        return RememberingConnection(self)


class RememberingConnection:
    """A connection of the Snowflake connector as far as the product uses it; it connects for the first new question."""

    def __init__(self, log: RememberedLog) -> None:
        self.log, self._real = log, None

    @property
    def real(self) -> Any:
        if self._real is None:
            self._real = self.log.connect_warehouse()
        return self._real

    def cursor(self) -> "RememberingCursor":
        return RememberingCursor(self)

    def close(self) -> None:
        if self._real is not None:
            self._real.close()

    def __enter__(self) -> "RememberingConnection":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class RememberingCursor:
    """A cursor that asks when its answer is fetched."""

    def __init__(self, connection: RememberingConnection) -> None:
        self._connection, self.description = connection, None

    def __enter__(self) -> "RememberingCursor":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def execute(self, query: str, binds: Any = None) -> "RememberingCursor":
        self._asked = query, binds
        return self

    def fetchall(self) -> list[Any]:
        return self._fetch("fetchall")

    def fetchone(self) -> Any:
        return next(iter(self.fetchall()), None)

    def fetch_arrow_batches(self) -> Iterator[Any]:
        return iter(self._fetch("fetch_arrow_batches"))

    def _fetch(self, how: str) -> list[Any]:
        (query, binds), log = self._asked, self._connection.log
        asked_with = {name: value for name, value in (binds or {}).items() if name != "now_dt" or not log.has_ended}
        answers, key = log.answers, (query, repr(asked_with), how)
        if key not in answers:
            answers[key] = self._ask(how)
        answer = answers[key]
        if isinstance(answer, ProgrammingError):
            raise answer.with_traceback(None)
        rows, self.description = answer
        return rows

    def _ask(self, how: str) -> Answer:
        with self._connection.real.cursor() as cursor:
            try:
                cursor.execute(*self._asked)
            except ProgrammingError as error:
                return error
            return list(getattr(cursor, how)() or ()), cursor.description
