"""A SQLite file whose connections are kept is as one that nobody has open between two uses."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from control_plane.catalog import complete_sample, fill_catalog
from control_plane.databases import new_control_plane
from sqlalchemy import Engine, text

from optimizer.control_plane.engine import open_engine, reading, transaction
from optimizer.control_plane.runs import list_runs
from optimizer.control_plane.schema import migrate
from optimizer.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.db"


@pytest.fixture
def engine(path: Path) -> Engine:
    """Return an engine that has been used and has written."""
    engine = new_control_plane(path, fill_catalog)
    complete_sample(engine, "first")
    return engine


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    return [str(file.readlink()) for file in folder.iterdir() if file.is_symlink()]


def is_sound(engine: Engine) -> bool:
    with reading(engine) as connection:
        return connection.scalar(text("PRAGMA integrity_check")) == "ok"


def test_a_connection_is_kept(engine: Engine, path: Path):
    assert str(path) in open_files()
    engine.dispose()
    assert str(path) not in open_files()


def test_a_copy_of_the_file_alone_has_all_that_was_written(engine: Engine, path: Path, tmp_path: Path):
    copy = open_engine(f"sqlite:///{shutil.copy(path, tmp_path / 'copy.db')}")
    assert list_runs(copy) == list_runs(engine) != []
    assert is_sound(copy)


@pytest.mark.parametrize("replace", [os.replace, shutil.copyfile], ids=["by another file", "in its place"])
def test_a_file_that_is_replaced_is_read_and_written_as_it_is_now(engine: Engine, path: Path, tmp_path: Path, replace):
    earlier = shutil.copy(path, tmp_path / "earlier.db")
    runs = list_runs(engine)
    complete_sample(engine, "second")
    replace(earlier, path)
    assert list_runs(engine) == runs
    complete_sample(engine, "third")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT dag_run_id FROM opt_runs ORDER BY run_id").fetchall() == [("first",), ("third",)]
    assert is_sound(engine)


def test_a_file_that_is_removed_is_missing_and_can_be_made_again(engine: Engine, path: Path):
    path.unlink()
    with pytest.raises(ConfigError, match="run `optimizer migrate`"):
        list_runs(engine)
    migrate(engine)
    assert list_runs(engine) == [] and is_sound(engine)


def test_a_forked_process_has_no_connection_of_its_parent_and_both_go_on(engine: Engine, path: Path):
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        found = [name for name in open_files() if name.startswith(str(path))]
        complete_sample(engine, "second")
        os.write(write_end, repr((found, len(list_runs(engine)))).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        assert answer.read() == repr(([], 2))
    assert os.waitpid(child, 0)[1] == 0
    complete_sample(engine, "third")
    assert len(list_runs(engine)) == 3 and is_sound(engine)


def test_who_reads_on_does_not_keep_a_writer_waiting_and_what_was_written_stays(engine: Engine, path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM opt_runs").fetchone() == (1,)
        complete_sample(engine, "second")
        assert other.execute("SELECT count(*) FROM opt_runs").fetchone() == (1,)
    assert len(list_runs(engine)) == 2


def test_foreign_keys_that_a_migration_did_without_hold_again(engine: Engine):
    with engine.connect().execution_options(sqlite_foreign_keys=False) as connection, connection.begin():
        assert connection.scalar(text("PRAGMA foreign_keys")) == 0
    with transaction(engine) as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
