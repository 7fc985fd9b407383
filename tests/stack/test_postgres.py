"""Postgres runs wherever a checkout may lie, also in a folder that only root may enter."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from servers.postgres import run_postgres

from lab.stack.postgres import (
    ADMIN,
    UNPRIVILEGED,
    embedded_programs,
    give_away,
    initialize,
    server_command,
    unprivileged,
)
from optimizer.errors import ConfigError

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that only its owner may enter, with a short path that has a space and a letter beyond ASCII."""
    folder = Path(tempfile.mkdtemp(prefix="optimizer-ä b-"))
    yield folder
    shutil.rmtree(folder)


def copy_programs(folder: Path) -> Path:
    """Copy Postgres and the libraries beside its package to where they find each other."""
    package = embedded_programs().parent.parent
    if (libraries := package.with_suffix(".libs")).exists():
        shutil.copytree(libraries, folder / libraries.name)
    return shutil.copytree(package, folder / package.name) / embedded_programs().relative_to(package)


def test_postgres_starts_from_a_folder_that_only_its_owner_may_enter(closed: Path):
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    programs = copy_programs(closed)
    data = closed / "server"
    data.mkdir()
    with run_postgres(data, programs=programs) as server, psycopg.connect(server.url(ADMIN)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        pid = int((data / "data" / "postmaster.pid").read_text().splitlines()[0])
        assert Path(psutil.Process(pid).exe()) == programs / "postgres"
        assert psutil.Process(pid).username() == (UNPRIVILEGED if AS_ROOT else psutil.Process().username())


def test_only_root_needs_another_user_for_postgres(closed: Path):
    command = server_command(closed / "data", socket_folder=closed, programs=embedded_programs())
    program = command.index(str(embedded_programs() / "postgres"))
    assert command[:program] == tuple(unprivileged())
    assert (program > 0) == AS_ROOT
    before = closed.stat().st_uid
    give_away(closed)
    assert (closed.stat().st_uid != before) == AS_ROOT


def test_a_machine_where_root_may_not_become_another_user_is_refused_with_the_reason_in_one_line(
    closed: Path, monkeypatch: pytest.MonkeyPatch
):
    refusing = closed / "setpriv"
    refusing.write_text("#!/bin/sh\necho 'setpriv: setresuid failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{closed}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    data = closed / "data"
    with pytest.raises(ConfigError, match=r"root.*setresuid failed: Operation not permitted.*SETPCAP") as raised:
        initialize(data, password="secret", programs=embedded_programs())
    assert "\n" not in str(raised.value)
    assert not data.exists()
    monkeypatch.setattr("lab.stack.postgres.UNPRIVILEGED", "no-such-user")
    with pytest.raises(ConfigError, match="add the user no-such-user"):
        initialize(data, password="secret", programs=embedded_programs())
