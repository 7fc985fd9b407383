"""What waits to be sent of one run, in an SQLite file of the process that logs it.

The file is locked while that process lives, however it ends. A process that gets the lock of a file that is still there
sends its entries. An entry is on disk once `put` returns; power cuts may cost the last.
"""

import fcntl
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Self
from uuid import uuid4

from optimization_tracking.models.iterations import MAX_BATCH

Kind = Literal["create", "iteration", "sample", "update"]

MAX_REQUEST_BYTES = 3_000_000
"""Below the service's own limit of a body, 4 MiB."""

# Each entry is a commit: it appends to the write-ahead log, and only the checkpoint, on a connection of its own, syncs.
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0")
_TABLES = (
    "CREATE TABLE run (base_url TEXT, destination TEXT, token TEXT, client_id TEXT, run_id TEXT, is_guarded INTEGER)",
    "CREATE TABLE batch (key TEXT, kind TEXT, first_id INTEGER, last_id INTEGER)",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, body TEXT)",
)
_NEXT = """
SELECT id, length(body) FROM entries
WHERE kind = :kind AND id < (SELECT coalesce(min(id), 9e18) FROM entries WHERE kind = 'update')
ORDER BY id LIMIT :most
"""
_OF_BATCH = "kind = ? AND id BETWEEN ? AND ?"


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """The run that a queue's entries belong to.

    token: its Idempotency-Key; client_id: the program's own id of it, if it has one; run_id: the service's id, None
    until it has created the run; is_guarded: a process that finds the queue abandoned ends the run as failed.
    """

    base_url: str
    destination: str
    token: str
    client_id: str | None
    run_id: str | None
    is_guarded: bool


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """Entries of one kind that go in one request; `key` is the same however often they are sent.

    first_id, last_id: the batch is all entries of its kind between them; what is logged later has greater ids.
    """

    key: str
    kind: Kind
    first_id: int
    last_id: int
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
        # The sender reads over a connection of its own, so that `put` need not wait for it.
        self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False) if path else self._database
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
            path = folder / f"{time.time_ns()}-{uuid4().hex}.db"  # found again in the order of their runs
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
            values = self._database.execute("SELECT * FROM run").fetchone()
        base_url, destination, token, client_id, run_id, is_guarded = values
        return QueuedRun(base_url, destination, token, client_id, run_id, is_guarded=bool(is_guarded))

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
        """Return what to send next, the same until it is removed; None if nothing waits.

        First what creates the run, then iterations before samples; a change after all that was logged before it.
        """
        claimed = self._reader.execute("SELECT key, kind, first_id, last_id FROM batch").fetchone() or self._claim()
        if claimed is None:
            return None
        query = f"SELECT body FROM entries WHERE {_OF_BATCH} ORDER BY id"  # noqa: S608 - our own text
        key, kind, first_id, last_id = claimed
        bodies = tuple(row[0] for row in self._reader.execute(query, (kind, first_id, last_id)))
        return QueuedBatch(key, kind, first_id, last_id, bodies)

    def remove(self, batch: QueuedBatch) -> None:
        """Forget a batch: it was delivered, or never will be."""
        values = (batch.kind, batch.first_id, batch.last_id)
        with self._mutex, self._transaction() as database:
            database.execute(f"DELETE FROM entries WHERE {_OF_BATCH}", values)  # noqa: S608
            database.execute("DELETE FROM batch")
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
            self._reader.close()
            self._database.close()
            if self.path is not None and is_empty:
                _delete(self.path)
            if self._lock_file is not None:
                self._lock_file.close()

    def _insert(self, kind: Kind, body: str) -> None:
        self._database.execute("INSERT INTO entries (kind, body) VALUES (?, ?)", (kind, body))
        self._waiting[kind] += 1
        self._bytes += len(body)

    def _claim(self) -> tuple[str, Kind, int, int] | None:
        first = self._reader.execute("SELECT id, kind FROM entries ORDER BY id LIMIT 1").fetchone()
        if first is None:
            return None
        first_id, kind = first
        last_id = first_id
        if kind not in ("create", "update"):
            kind, first_id, last_id = self._next_rows()
        claimed = (uuid4().hex, kind, first_id, last_id)
        with self._mutex:
            self._database.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", claimed)
        return claimed

    def _next_rows(self) -> tuple[Kind, int, int]:
        """Return kind, first and last id of as many iterations as one request takes; of samples, where none waits."""
        kind: Kind = "iteration"
        rows = self._reader.execute(_NEXT, {"kind": kind, "most": MAX_BATCH}).fetchall()
        if not rows:
            kind = "sample"
            rows = self._reader.execute(_NEXT, {"kind": kind, "most": MAX_BATCH}).fetchall()
        total, last_id = 0, rows[0][0]
        for entry_id, length in rows:
            total += length
            if total > MAX_REQUEST_BYTES:
                break
            last_id = entry_id
        return kind, rows[0][0], last_id

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
