"""What waits to be sent of one run, in an SQLite file of the process that logs it.

The file is locked while that process lives, however it ends. A process that gets the lock of a file that is still there
sends its entries. An entry is on disk once `put` returns; power cuts may cost the last.

A full disk loses nothing while the process lives: what cannot be written is kept in memory and written later, and what
was sent is remembered there until it can be deleted. So a queue empties without any room on the disk.

A queue belongs to the process that opened it. Its file is closed while that process forks, and the child leaves it.
"""

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self, get_args
from uuid import uuid4

from optimization_tracking.client import forking
from optimization_tracking.client.forking import ForkAware
from optimization_tracking.client.queue_folder import delete_queue, lock_queue, worker_mark
from optimization_tracking.models.batches import MAX_BATCH

Kind = Literal["create", "iteration", "sample", "update"]

MAX_REQUEST_BYTES = 3_000_000
"""Below the service's own limit of a body, 4 MiB."""

MAX_LOG_BYTES = 4 * 1024 * 1024
"""The write-ahead log is folded into the file beyond this, and as much free space in the file is given back."""

MAX_UNSAVED_BYTES = 32 * 1024 * 1024
RETRY_S = 1.0
"""Between two attempts to write to a disk that refused it."""

LOOK_EVERY = 256
"""Entries after which `put` looks how long the write-ahead log is."""

FREED_AT_ONCE = 1024
"""Pages given back while `put` waits."""

# Each entry is a commit: it appends a page to the write-ahead log, so pages are small. Only the checkpoint, on a
# connection of its own, syncs.
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0")
_PRAGMAS_OF_NEW = ("page_size=1024", "auto_vacuum=INCREMENTAL")
_TABLES = (
    "CREATE TABLE run (base_url TEXT, destination TEXT, token TEXT, client_id TEXT, run_id TEXT, is_guarded INTEGER, "
    "is_worker INTEGER)",
    "CREATE TABLE batch (key TEXT, kind TEXT, first_id INTEGER, last_id INTEGER)",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY, kind TEXT, body TEXT)",
)
_FIRST = """
SELECT id, kind FROM entries
WHERE
    id > CASE kind
        WHEN 'create' THEN :create WHEN 'iteration' THEN :iteration WHEN 'sample' THEN :sample ELSE :update
    END
ORDER BY id LIMIT 1
"""
_NEXT = """
SELECT id, length(body) FROM entries
WHERE
    kind = :kind
    AND id > :after
    AND id < (SELECT coalesce(min(id), 9e18) FROM entries WHERE kind = 'update' AND id > :update)
ORDER BY id LIMIT :most
"""
_OF_BATCH = "kind = ? AND id BETWEEN ? AND ?"
_IS_THERE = f"SELECT 1 FROM entries WHERE {_OF_BATCH}"  # noqa: S608 - our own text

_OF_SYSTEM = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}
)

_log = logging.getLogger(__name__)

_never_closed: list[tuple[sqlite3.Connection, sqlite3.Connection]] = []


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """The run that a queue's entries belong to.

    token: its Idempotency-Key; client_id: the program's own id of it, if it has one; run_id: the service's id, None
    until it has created the run; is_guarded: a process that finds the queue abandoned ends the run as failed;
    is_worker: the queue's process will not end the run: it was forked from one that logs it, or opened it as a worker.
    """

    base_url: str
    destination: str
    token: str
    client_id: str | None
    run_id: str | None
    is_guarded: bool
    is_worker: bool = False


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


class _Entry(NamedTuple):
    id: int
    kind: Kind
    body: str


class _Claim(NamedTuple):
    key: str
    kind: Kind
    first_id: int
    last_id: int


class UnreadableQueue(Exception):
    """A file that is not a queue that this release can send; `is_whole`: it may be one, and the system refuses it."""

    def __init__(self, reason: str, *, is_whole: bool = False) -> None:
        super().__init__(reason)
        self.is_whole = is_whole


class DiskQueue(ForkAware):
    """The entries of one run in the order in which they came; threads may share it.

    `owner`: who holds the run's lease, this queue and no other.
    """

    def __init__(self, path: Path | None, lock_file: IO[str] | None, *, max_bytes: int) -> None:
        self.path = path
        self.owner = uuid4().hex if path is None else path.stem
        self._lock_file, self._max_bytes = lock_file, max_bytes
        self._held: list[threading.Lock] = []
        self._make_locks()
        self._is_connected = False
        self._connect(is_new=path is None or not path.exists())
        self._waiting: Counter[str] = Counter()
        self._bytes = self._last_id = 0
        self._run: QueuedRun | None = None
        self._claimed: _Claim | None = None
        self._is_closed = False
        # What the disk does not have yet: entries, all later than those on it; the run; first and last id by kind of
        # what was sent and is still there.
        self._unsaved: list[_Entry] = []
        self._unsaved_bytes = 0
        self._has_unsaved_run = False
        self._sent: dict[Kind, tuple[int, int]] = {}
        self._retry_at = 0.0

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
        with forking.opening:
            lock_file = None if path is None else lock_queue(path)
            try:
                queue = cls(path, lock_file, max_bytes=max_bytes)
                queue._start(run, body)
            except sqlite3.Error:
                if path is not None and lock_file is not None:
                    delete_queue(path)
                    lock_file.close()
                raise
            queue.watch_forks()
        return queue

    @classmethod
    def adopt(cls, path: Path, *, max_bytes: int) -> Self | None:
        """Return the queue of a process that ended; None where it lives, or another one adopted the queue first.

        Raises:
            UnreadableQueue: the file is damaged, or of another release; `is_whole` where only the system refuses it.
        """
        with forking.opening:
            try:
                lock_file = lock_queue(path)
            except OSError as error:
                raise UnreadableQueue(f"{path}: {error.strerror}", is_whole=True) from None
            if lock_file is None:
                return None
            if not path.exists():  # sent and deleted by another one, meanwhile
                delete_queue(path)
                lock_file.close()
                return None
            try:
                queue = cls(path, lock_file, max_bytes=max_bytes)
                if not queue._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    queue.close()  # its process ended before it logged anything
                    return None
                queue._read()
            except (sqlite3.Error, UnreadableQueue) as error:
                lock_file.close()
                raise UnreadableQueue(f"{path}: {error}", is_whole=_is_of_system(error)) from None
            queue.watch_forks()
        return queue

    def run(self) -> QueuedRun:
        if self._run is None:
            raise RuntimeError("the queue was not made by create or adopt")
        return self._run

    def name_run(self, run_id: str) -> None:
        """Note the service's id of the run."""
        with self._mutex:
            self._change_run(replace(self.run(), run_id=run_id))

    def guard(self, is_guarded: bool) -> None:
        """Note whether the run's end has still to be logged."""
        with self._mutex:
            self._change_run(replace(self.run(), is_guarded=is_guarded))

    def put(self, kind: Kind, body: str) -> bool:
        """Return whether the entry is kept: on disk, or in memory until a full disk takes it again.

        It is not where the queue is full or closed; changes of the run always fit.
        """
        with self._mutex:
            if self._is_closed or (kind != "update" and not self._fits(body)):
                return False
            self._last_id += 1
            entry = _Entry(self._last_id, kind, body)
            if self._unsaved or not self._try(lambda: self._insert([entry])):
                self._unsaved.append(entry)
                self._unsaved_bytes += len(body)
                self._save()
            self._count(kind, body)
        if entry.id % LOOK_EVERY == 0 and self._log_is_long():
            try:
                threading.Thread(target=self.checkpoint, name="optimization tracking log", daemon=True).start()
            except RuntimeError:  # the system has no thread for it, or the interpreter ends
                self.checkpoint()
        return True

    def next_batch(self) -> QueuedBatch | None:
        """Return what to send next, the same until it is removed; None if nothing waits.

        First what creates the run, then iterations before samples; a change after all that was logged before it.
        """
        with self._reading:
            with self._mutex:
                if not self._is_connected:  # it could not be opened again after a fork
                    self._try(lambda: None)
                unsaved = list(self._unsaved)
            claim = self._claimed = self._claimed or self._claim(unsaved)
            if claim is None:
                return None
            in_memory = ((entry.id, entry.body) for entry in unsaved if _is_of(entry, claim))
            query = f"SELECT id, body FROM entries WHERE {_OF_BATCH} ORDER BY id"  # noqa: S608 - our own text
            on_disk = self._reader.execute(query, (claim.kind, claim.first_id, claim.last_id))
            bodies = dict(on_disk) | dict(in_memory)  # an entry may be in both: it is written just now
        return QueuedBatch(*claim, tuple(bodies.values()))

    def remove(self, batch: QueuedBatch) -> None:
        """Forget a batch: it was delivered, or never will be."""
        with self._mutex:
            first_id, _ = self._sent.get(batch.kind, (batch.first_id, 0))
            self._sent[batch.kind] = (first_id, batch.last_id)
            self._unsaved = [entry for entry in self._unsaved if not _is_of(entry, batch)]
            self._unsaved_bytes = sum(len(entry.body) for entry in self._unsaved)
            self._claimed = None
            self._waiting[batch.kind] -= len(batch.bodies)
            self._bytes -= sum(map(len, batch.bodies))
            self._save()
        if self._log_is_long() or (not self.waiting() and self._size() > MAX_LOG_BYTES):
            self.checkpoint()

    def waiting(self) -> dict[str, int]:
        """Return how many entries of each kind wait; empty where none does."""
        with self._mutex:
            return {kind: number for kind, number in self._waiting.items() if number}

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, and give back what is free in it; `put` barely waits meanwhile."""
        if self.path is None or not self._folding.acquire(blocking=False):
            return
        try:
            if not self._is_closed:
                self._fold(self.path)
        except sqlite3.Error as error:
            _log.debug("tracking: the queue's log stays as it is: %s", error)
        finally:
            self._folding.release()

    def close(self) -> None:
        """Release the file; where nothing waits in it, it is deleted."""
        is_empty = not self.waiting()
        with self._folding, self._mutex:
            if self._unsaved:
                self._retry_at = 0
                self._save()
            if self._unsaved:
                _log.warning("tracking loses %d entries: the disk of their queue takes none", len(self._unsaved))
            self._is_closed = True
            self._disconnect()
            if self.path is not None and is_empty:
                delete_queue(self.path)
            if self._lock_file is not None:
                self._lock_file.close()

    def before_fork(self) -> None:
        """Wait until no thread uses the file, and close it."""
        locks = (self._folding, self._reading, self._mutex)
        self._held = [lock for lock in locks if lock.acquire(timeout=forking.WAIT_S)]
        if len(self._held) == len(locks) and self.path is not None and not self._is_closed:
            self._disconnect()

    def after_fork(self, *, is_child: bool) -> None:
        """Open the file again in the process whose it is; leave it, with its lock, in the child."""
        if is_child:
            self._leave()
            return
        try:
            if not (self._is_closed or self._is_connected):
                self._connect()
        except sqlite3.Error as error:
            _log.warning("tracking: the queue's file is not opened again (%s); what is logged waits in memory", error)
        finally:
            for lock in reversed(self._held):
                lock.release()

    def _leave(self) -> None:
        self._is_closed = True
        self._make_locks()
        if self._is_connected and self.path is not None:
            # It was in use at the fork. Closing it here could delete the log that the other process writes.
            _never_closed.append((self._database, self._reader))
        if self._lock_file is not None:
            self._lock_file.close()

    def _make_locks(self) -> None:
        # Taken in this order; `_reading` while the sender looks for what to send.
        self._folding, self._reading, self._mutex = threading.Lock(), threading.Lock(), threading.Lock()
        self._held = []

    def _connect(self, *, is_new: bool = False) -> None:
        self._database = sqlite3.connect(self.path or ":memory:", isolation_level=None, check_same_thread=False)
        for pragma in (*_PRAGMAS_OF_NEW, *_PRAGMAS) if is_new else _PRAGMAS:
            self._database.execute(f"PRAGMA {pragma}")
        self._reader = self._database
        if self.path is not None:  # the sender reads over a connection of its own, so that `put` need not wait for it
            self._reader = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._is_connected = True

    def _disconnect(self) -> None:
        self._is_connected = False
        self._reader.close()
        self._database.close()

    def _start(self, run: QueuedRun, body: str) -> None:
        """Make the tables, with the run and the entry that creates it."""
        with self._transaction() as database:
            for statement in _TABLES:
                database.execute(statement)
            database.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(run))
            database.execute("INSERT INTO entries VALUES (1, 'create', ?)", (body,))
        self._run, self._last_id = run, 1
        self._count("create", body)

    def _read(self) -> None:
        """Take over what an earlier process left in the file."""
        names = f"base_url, destination, token, client_id, run_id, is_guarded, {worker_mark(self._database)}"
        row = self._database.execute(f"SELECT {names} FROM run").fetchone()  # noqa: S608 - our own text
        if row is None:
            raise UnreadableQueue("it names no run")
        base_url, destination, token, client_id, run_id, is_guarded, is_worker = row
        self._run = QueuedRun(base_url, destination, token, client_id, run_id, bool(is_guarded), bool(is_worker))
        claimed = self._database.execute("SELECT key, kind, first_id, last_id FROM batch").fetchone()
        if claimed is not None and self._database.execute(_IS_THERE, claimed[1:]).fetchone():
            self._claimed = _Claim(*claimed)
        for entry_id, kind, length in self._database.execute("SELECT id, kind, length(body) FROM entries ORDER BY id"):
            self._waiting[kind] += 1
            self._bytes += length
            self._last_id = entry_id

    def _count(self, kind: Kind, body: str) -> None:
        self._waiting[kind] += 1
        self._bytes += len(body)

    def _fits(self, body: str) -> bool:
        in_memory = self._unsaved_bytes + len(body)
        return self._bytes + len(body) <= self._max_bytes and in_memory <= MAX_UNSAVED_BYTES

    def _insert(self, entries: list[_Entry]) -> None:
        self._database.executemany("INSERT INTO entries VALUES (?, ?, ?)", entries)

    def _change_run(self, run: QueuedRun) -> None:
        self._run, self._has_unsaved_run = run, True
        self._save()

    def _save(self) -> None:
        """Write what the disk lacks in one transaction, unless it has just refused that."""
        if self._try(self._write):
            self._unsaved, self._unsaved_bytes, self._sent, self._has_unsaved_run = [], 0, {}, False

    def _write(self) -> None:
        with self._transaction() as database:
            if self._sent:
                database.execute("DELETE FROM batch")
            for kind, (first_id, last_id) in self._sent.items():
                database.execute(f"DELETE FROM entries WHERE {_OF_BATCH}", (kind, first_id, last_id))  # noqa: S608
            self._insert(self._unsaved)
            if self._has_unsaved_run:
                run = self.run()
                database.execute("UPDATE run SET run_id = ?, is_guarded = ?", (run.run_id, run.is_guarded))

    def _try(self, write: Callable[[], None]) -> bool:
        """Return whether the disk took it; a disk that refuses is left alone for a moment."""
        if time.monotonic() < self._retry_at:
            return False
        try:
            if not (self._is_connected or self._is_closed):
                self._connect()
            write()
        except sqlite3.OperationalError as error:
            if not self._retry_at:
                _log.warning("tracking: the queue's disk takes nothing (%s); what is logged waits in memory", error)
            self._retry_at = time.monotonic() + RETRY_S
            return False
        self._retry_at = 0.0
        return True

    def _claim(self, unsaved: list[_Entry]) -> _Claim | None:
        after = {kind: self._sent.get(kind, (0, 0))[1] for kind in get_args(Kind)}
        first = self._reader.execute(_FIRST, after).fetchone()
        if first is not None:
            first_id, first_kind = first
            if first_kind in ("create", "update"):
                return self._note(first_kind, first_id, first_id)
            kinds: tuple[Kind, Kind] = ("iteration", "sample")
            for kind in kinds:
                found = {"kind": kind, "after": after[kind], "update": after["update"], "most": MAX_BATCH}
                if rows := self._reader.execute(_NEXT, found).fetchall():
                    return self._note(kind, rows[0][0], _last_of_request(rows))
        if not unsaved:
            return None
        if unsaved[0].kind in ("create", "update"):
            return self._note(unsaved[0].kind, unsaved[0].id, unsaved[0].id)
        before = list(takewhile(lambda entry: entry.kind != "update", unsaved))
        chosen: Kind = "iteration" if any(entry.kind == "iteration" for entry in before) else "sample"
        rows = [(entry.id, len(entry.body)) for entry in before if entry.kind == chosen][:MAX_BATCH]
        return self._note(chosen, rows[0][0], _last_of_request(rows))

    def _note(self, kind: Kind, first_id: int, last_id: int) -> _Claim:
        """Return the batch, on disk too, so that a later process sends it with the same key."""
        claim = _Claim(uuid4().hex, kind, first_id, last_id)

        def write() -> None:
            with self._transaction() as database:
                database.execute("DELETE FROM batch")
                database.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", claim)

        with self._mutex:
            self._try(write)
        return claim

    def _log_is_long(self) -> bool:
        return self._size("-wal") > MAX_LOG_BYTES

    def _size(self, suffix: str = "") -> int:
        try:
            return 0 if self.path is None else self.path.with_name(self.path.name + suffix).stat().st_size
        except OSError:
            return 0

    def _fold(self, path: Path) -> None:
        database = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # nearly all of it, while `put` goes on
            with self._mutex:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
            (free_pages,) = database.execute("PRAGMA freelist_count").fetchone()
            (pages,) = database.execute("PRAGMA page_count").fetchone()
            if free_pages * page_bytes > MAX_LOG_BYTES and 2 * free_pages > pages:
                for _ in range(0, free_pages, FREED_AT_ONCE):
                    with self._mutex:
                        database.executescript(f"PRAGMA incremental_vacuum({FREED_AT_ONCE})")  # execute frees one
                with self._mutex:
                    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._database:  # commits, or rolls back on an error
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database


def _is_of_system(error: Exception) -> bool:
    """Return whether the disk, or a limit of the process, is the reason: nothing is wrong with the file."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_SYSTEM


def _is_of(entry: _Entry, batch: _Claim | QueuedBatch) -> bool:
    return entry.kind == batch.kind and batch.first_id <= entry.id <= batch.last_id


def _last_of_request(rows: Sequence[tuple[int, int]]) -> int:
    """Return the id of the last entry that goes in one request with the first; rows are ids and lengths."""
    total, last_id = 0, rows[0][0]
    for entry_id, length in rows:
        total += length
        if total > MAX_REQUEST_BYTES:
            break
        last_id = entry_id
    return last_id
