"""Create the tracking tables, and say which revision a database has."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text

from optimization_tracking.connections import connect
from optimization_tracking.migrations.statements import VERSION_TABLE
from optimizer.errors import ConfigError

MIGRATIONS = Path(__file__).parent / "migrations"
MIN_SERVER_VERSION = 150_000

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext(:name))")


def migrate(url: str) -> str:
    """Bring the tables to this code's revision, from nothing or from an older one, and return that revision.

    May be called by several processes at once and any number of times. The login must be allowed to create tables, and
    for the first time roles.

    Raises:
        ConfigError: Postgres is older than 15, refuses the login or forbids a statement; the tables are newer than this
            code; the SQL is missing.
        UnavailableError: it does not answer.
    """
    with _migrating(url) as connection:
        _check_known(_revision_of(connection))
        command.upgrade(_config(connection), "head")
    return head_revision()


def revert(url: str, *, revision: str) -> None:
    """Take the tables back to an older revision; "base" drops them all, with what is in them.

    Raises:
        ConfigError: this code does not know the revision, or the tables are not at a later one.
    """
    found = current_revision(url)
    _check_known(found)
    earlier = _earlier_revisions(found)
    if revision not in ("base", *earlier):
        choices = f"choose one of {', '.join(earlier)}" if earlier else "no revision is earlier"
        raise ConfigError(
            f"the tracking database is at revision {found}, which cannot go back to {revision}; {choices}"
        )
    with _migrating(url) as connection:
        command.downgrade(_config(connection), revision)


def current_revision(url: str) -> str | None:
    """Return the revision of the database's tables, or None where there are none."""
    with _migrating(url) as connection:
        return _revision_of(connection)


@cache
def head_revision() -> str:
    """Return the revision that this code needs."""
    return ScriptDirectory(MIGRATIONS).get_current_head() or ""


def _revision_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _check_known(found: str | None) -> None:
    if found is not None and found not in _known_revisions():
        raise ConfigError(f"the tracking database is at revision {found}, newer than this code; update the package")


def _earlier_revisions(found: str | None) -> tuple[str, ...]:
    """Return the revisions before this one, the oldest first."""
    return () if found is None else _known_revisions()[: _known_revisions().index(found)]


@cache
def _known_revisions() -> tuple[str, ...]:
    """Return the revisions of this code, the oldest first."""
    return tuple(reversed([script.revision for script in ScriptDirectory(MIGRATIONS).walk_revisions()]))


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@contextmanager
def _migrating(url: str) -> Iterator[Connection]:
    """Give a transaction during which no other migration of this database runs."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            driver: Any = connection.connection.driver_connection
            version = driver.info.server_version
            if version < MIN_SERVER_VERSION:
                raise ConfigError(f"the tracking database is Postgres {version // 10_000}; it needs 15 or newer")
            connection.execute(_LOCK, {"name": VERSION_TABLE})
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(f"the tracking database forbids it: {error}; migrate with an account that owns it") from error
    finally:
        engine.dispose()
