"""The folder that holds the queues of a user's programs: whose process lives, and which are left."""

import fcntl
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from optimization_tracking.client import forking


def queue_files(folder: Path) -> list[Path]:
    """Return the queues of the folder, those of living processes among them, by name."""
    return sorted(folder.glob("*.db")) if folder.is_dir() else []


def living_client_ids(own: Path, base_url: str) -> set[str]:
    """Return the programs' own ids of the runs that living processes opened, at one address over one folder.

    Workers are none: they will not end the run.

    Args:
        own: a queue of the folder that this process holds; it is left out.
    """
    found: set[str] = set()
    for path in queue_files(own.parent):
        if path == own:
            continue
        try:
            with forking.opening:
                found |= _living_client_ids_of(path, base_url)
        except (OSError, sqlite3.Error):  # it was made, or deleted, just now, or is another user's
            continue
    return found


def _living_client_ids_of(path: Path, base_url: str) -> set[str]:
    if (lock_file := lock_queue(path)) is not None:
        lock_file.close()
        return set()
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        of_openers = f"base_url = ? AND client_id IS NOT NULL AND NOT {worker_mark(database)}"
        query = f"SELECT client_id FROM run WHERE {of_openers}"  # noqa: S608 - our own text
        return {client_id for (client_id,) in database.execute(query, (base_url,))}


def worker_mark(database: sqlite3.Connection) -> str:
    """Return what says in a queue whether a worker logs it; in those of earlier releases nothing does."""
    columns = [column for _, column, *_ in database.execute("PRAGMA table_info(run)")]
    return "is_worker" if "is_worker" in columns else "false"


def lock_queue(path: Path) -> IO[str] | None:
    """Return the lock of a queue, which lasts until it is closed or the process ends; None where another has it."""
    lock_file = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        return None
    return lock_file


def touch_queue(path: Path) -> None:
    """Let the files of a queue look used: who cleans a folder by age leaves them, the lock above all."""
    for file in _files_of(path):
        with suppress(OSError):
            os.utime(file)


def delete_queue(path: Path) -> None:
    """Delete all files of a queue."""
    for file in _files_of(path):
        file.unlink(missing_ok=True)


def _files_of(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", ".lock")]
