"""What waits to be sent of one run, in an SQLite file of the process that logs it.

The file is locked for as long as that process lives, and the lock goes with it however it ends: whoever gets the lock
of a file that is still there sends what it holds. An entry is on disk once `put` returns; power cuts may cost the last.
"""

import fcntl
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Self
from uuid import uuid4

from optimizer.tracking.models.iterations import MAX_BATCH

Kind = Literal["create", "iteration", "sample", "update"]

MAX_REQUEST_BYTES = 3_000_000
"""Below the service's own limit of a body, 4 MiB."""

# Each entry is a commit: it appends to the write-ahead log, and only the checkpoint, on a connection of its own, syncs.
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0")
_TABLES = (
    "CREATE TABLE run (base_url TEXT, destination TEXT, token TEXT, client_id TEXT, run_id TEXT, is_guarded INTEGER)",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, body TEXT, batch TEXT)",
    "CREATE INDEX entries_batch ON entries (batch) WHERE batch IS NOT NULL",
)
_CLAIMABLE = """
SELECT id, length(body) FROM entries
WHERE kind = :kind AND id < (SELECT coalesce(min(id), 9e18) FROM entries WHERE kind = 'update')
ORDER BY id LIMIT :most
"""


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """The run that a queue's entries belong to.

    token: its Idempotency-Key; client_id: the program's own id of it, if it has one; run_id: the service's id, None
    until it has created the run; is_guarded: whoever finds the queue abandoned ends the run as failed.
    """

    base_url: str
    destination: str
    token: str
    client_id: str | None
    run_id: str | None
    is_guarded: bool


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """Entries of one kind that go in one request; `key` is the same however often they are sent."""

    key: str
    kind: Kind
    bodies: tuple[str, ...]


class DiskQueue:
    """The entries of one run in the order in which they came; threads may share it."""

    def __init__(self, path: Path | None, lock_file: IO[str] | None, *, max_bytes: int) -> None:
        self.path = path
        self._lock_file, self._max_bytes = lock_file, max_bytes
        self._mutex = threading.Lock()
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            self._database.execute(f"PRAGMA {pragma}")
        self._waiting: Counter[str] = Counter()
        self._bytes = 0

    @classmethod
    def create(cls, folder: Path | None, run: QueuedRun, *, body: str, max_bytes: int) -> Self:
        """Return a new queue with the entry that creates the run.

        Args:
            folder: made where it is missing; None keeps the queue in memory.
        """
        path = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"{uuid4().hex}.db"
        queue = cls(path, None if path is None else _lock(path), max_bytes=max_bytes)
        with queue._transaction() as database:
            for statement in _TABLES:
                database.execute(statement)
            values = (run.base_url, run.destination, run.token, run.client_id, run.run_id, run.is_guarded)
            database.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)", values)
            queue._insert("create", body)
        return queue

    @classmethod
    def adopt(cls, path: Path, *, max_bytes: int) -> Self | None:
        """Return the queue of a process that ended; None where it lives, or another one adopted the queue first."""
        lock_file = _lock(path)
        if lock_file is None:
            return None
        if not path.exists():  # sent and deleted by another one, meanwhile
            _delete(path)
            lock_file.close()
            return None
        queue = cls(path, lock_file, max_bytes=max_bytes)
        if not queue._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            queue.close()  # its process ended before it logged anything
            return None
        for kind, length in queue._database.execute("SELECT kind, length(body) FROM entries"):
            queue._waiting[kind] += 1
            queue._bytes += length
        return queue

    def run(self) -> QueuedRun:
        with self._mutex:
            *values, is_guarded = self._database.execute("SELECT * FROM run").fetchone()
        return QueuedRun(*values, is_guarded=bool(is_guarded))

    def name_run(self, run_id: str) -> None:
        """Note the service's id of the run."""
        with self._mutex:
            self._database.execute("UPDATE run SET run_id = ?", (run_id,))

    def guard(self, is_guarded: bool) -> None:
        """Note whether the run's end has still to be logged."""
        with self._mutex:
            self._database.execute("UPDATE run SET is_guarded = ?", (is_guarded,))

    def put(self, kind: Kind, body: str) -> bool:
        """Return whether the entry is on disk now; False where the queue is full. Changes of the run always fit."""
        with self._mutex:
            if kind != "update" and self._bytes + len(body) > self._max_bytes:
                return False
            self._insert(kind, body)
            return True

    def next_batch(self) -> QueuedBatch | None:
        """Return what is to be sent next; the same again until it is removed. None where nothing waits.

        First what creates the run, then iterations before samples; a change after all that was logged before it.
        """
        with self._mutex, self._transaction() as database:
            claimed = database.execute("SELECT batch FROM entries WHERE batch IS NOT NULL LIMIT 1").fetchone()
            key = claimed[0] if claimed else self._claim(database)
            query = "SELECT kind, body FROM entries WHERE batch = ? ORDER BY id"
            rows = database.execute(query, (key,)).fetchall()
        return QueuedBatch(key, rows[0][0], tuple(row[1] for row in rows)) if rows else None

    def remove(self, batch: QueuedBatch) -> None:
        """Forget a batch: it was delivered, or never will be."""
        with self._mutex:
            self._database.execute("DELETE FROM entries WHERE batch = ?", (batch.key,))
            self._waiting[batch.kind] -= len(batch.bodies)
            self._bytes -= sum(map(len, batch.bodies))

    def waiting(self) -> dict[str, int]:
        """Return how many entries of each kind wait; empty where none does."""
        with self._mutex:
            return {kind: number for kind, number in self._waiting.items() if number}

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file; `put` goes on meanwhile."""
        if self.path is None:
            return
        database = sqlite3.connect(self.path, isolation_level=None)
        try:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            database.close()

    def close(self) -> None:
        """Release the file; where nothing waits in it, it is deleted."""
        is_empty = not self.waiting()
        with self._mutex:
            self._database.close()
            if self.path is not None and is_empty:
                _delete(self.path)
            if self._lock_file is not None:
                self._lock_file.close()

    def _insert(self, kind: Kind, body: str) -> None:
        self._database.execute("INSERT INTO entries (kind, body) VALUES (?, ?)", (kind, body))
        self._waiting[kind] += 1
        self._bytes += len(body)

    def _claim(self, database: sqlite3.Connection) -> str | None:
        first = database.execute("SELECT id, kind FROM entries ORDER BY id LIMIT 1").fetchone()
        if first is None:
            return None
        entry_id, kind = first
        ids = [entry_id] if kind in ("create", "update") else self._claimable(database)
        key = uuid4().hex
        database.executemany("UPDATE entries SET batch = ? WHERE id = ?", [(key, entry_id) for entry_id in ids])
        return key

    def _claimable(self, database: sqlite3.Connection) -> list[int]:
        rows: list[tuple[int, int]] = []
        for kind in ("iteration", "sample"):
            rows = rows or database.execute(_CLAIMABLE, {"kind": kind, "most": MAX_BATCH}).fetchall()
        ids, total = [], 0
        for entry_id, length in rows:
            total += length
            if ids and total > MAX_REQUEST_BYTES:
                break
            ids.append(entry_id)
        return ids

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._database:  # commits, or rolls back on an error
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database


def queue_files(folder: Path) -> list[Path]:
    """Return the queues of the folder, those of living processes among them, by name."""
    return sorted(folder.glob("*.db")) if folder.is_dir() else []


def _lock(path: Path) -> IO[str] | None:
    lock_file = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        return None
    return lock_file


def _delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", ".lock"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
