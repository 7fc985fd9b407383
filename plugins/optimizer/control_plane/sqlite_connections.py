"""Connections to a SQLite file that are kept from one use to the next: to open one takes ten times what a read takes.

Nobody can tell that one is kept. What was written is in the file itself when it is left, so that the file may be
copied, replaced or removed as one that nobody has open. A file that changed meanwhile is opened anew. A forked process
gets no connection: SQLite's locks are those of the process that opened the file.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import Engine, QueuePool, event
from sqlalchemy.exc import DisconnectionError

POOL_OPTIONS: dict[str, Any] = {"poolclass": QueuePool, "max_overflow": -1, "pool_use_lifo": True}

_LEFT = "left"
_engines: WeakSet[Engine] = WeakSet()


def keep_connections(engine: Engine, *, busy_timeout_ms: int) -> None:
    """Have the engine, made with POOL_OPTIONS, keep its connections."""
    path = Path(str(engine.url.database))

    def leave(connection: Any, record: Any) -> None:
        if connection is not None:
            is_left = _write_back(connection, busy_timeout_ms=busy_timeout_ms)
            record.info[_LEFT] = _state_of(path) if is_left else None

    def take(connection: Any, record: Any, _: Any) -> None:
        if _LEFT in record.info and (record.info[_LEFT] is None or record.info[_LEFT] != _state_of(path)):
            raise DisconnectionError(f"{path} is not as this process left it")

    event.listen(engine, "checkin", leave)
    event.listen(engine, "checkout", take)
    _engines.add(engine)


def _write_back(connection: Any, *, busy_timeout_ms: int) -> bool:
    """Empty the write-ahead log into the file, unless another connection is at it, which does so when it leaves."""
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA busy_timeout=0")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")
    except sqlite3.Error:
        return False
    return True


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _close_kept() -> None:
    for engine in list(_engines):
        engine.dispose()


os.register_at_fork(before=_close_kept)
