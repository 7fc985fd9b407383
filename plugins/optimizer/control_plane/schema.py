"""Create the control plane's tables, and check that they are the ones this code needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from optimizer.control_plane.engine import ANSWER_TIMEOUT_S, database_name, reading, transaction
from optimizer.control_plane.failures import MIGRATE_HINT, explain
from optimizer.control_plane.tables import VERSION_TABLE
from optimizer.errors import ConfigError, UnavailableError

MIGRATIONS = Path(__file__).parent / "migrations"

# Such locks belong to the whole server, so their names have the database's name; MySQL takes 64 characters.
_LOCK_NAME = f"LEFT(CONCAT('{VERSION_TABLE}.', DATABASE()), 64)"
_LOCK = text(f"SELECT GET_LOCK({_LOCK_NAME}, :timeout_s)")
_UNLOCK = text(f"SELECT RELEASE_LOCK({_LOCK_NAME})")


def migrate(engine: Engine) -> str:
    """Bring the tables to this code's revision, from nothing or from an older one, and return that revision.

    May be called by several processes at once and any number of times.

    Raises:
        ConfigError: the tables are newer than this code, or not those of their revision, as after an interruption.
        UnavailableError: the database is silent.
    """
    with _migrating(engine) as connection:
        found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
        _check_known(engine, found)
        try:
            command.upgrade(_config(connection), "head")
        except (OperationalError, ProgrammingError) as error:
            if explain(error, database=database_name(engine)) is not None:
                raise
            raise ConfigError(
                f"{database_name(engine)} cannot be migrated from revision {found}: {error.orig}; if an earlier "
                "migration was interrupted, restore the backup from before it and migrate again"
            ) from error
    return head_revision()


def revert(engine: Engine, *, revision: str) -> None:
    """Take the tables back to an older revision; "base" drops them all, with what is in them.

    What later revisions added is lost.

    Raises:
        ConfigError: this code does not know the revision, or the tables are not at a later one.
    """
    found = current_revision(engine)
    _check_known(engine, found)
    earlier = _earlier_revisions(found)
    if revision not in ("base", *earlier):
        choices = f"choose one of {', '.join(earlier)}" if earlier else "no revision is earlier"
        raise ConfigError(
            f"{database_name(engine)} is at revision {found}, which cannot go back to {revision}; {choices}"
        )
    with _migrating(engine) as connection:
        command.downgrade(_config(connection), revision)


def current_revision(engine: Engine) -> str | None:
    """Return the revision of the database's tables, or None where there are none."""
    with reading(engine) as connection:
        return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


@cache
def head_revision() -> str:
    """Return the revision that this code needs."""
    return ScriptDirectory(MIGRATIONS).get_current_head() or ""


def check_schema(engine: Engine) -> None:
    """Pass where the database's tables are those that this code needs.

    Raises:
        ConfigError: they are missing, older or newer; says what to run.
    """
    found, needed = current_revision(engine), head_revision()
    if found is None:
        raise ConfigError(f"{database_name(engine)} has no tables yet, revision {needed} is needed; {MIGRATE_HINT}")
    _check_known(engine, found)
    if found != needed:
        raise ConfigError(f"{database_name(engine)} is at revision {found}, {needed} is needed; {MIGRATE_HINT}")


def _check_known(engine: Engine, found: str | None) -> None:
    if found is not None and found not in _known_revisions():
        raise ConfigError(f"{database_name(engine)} is at revision {found}, newer than this code; update the package")


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
def _migrating(engine: Engine) -> Iterator[Connection]:
    """Give a transaction that no other migration of this database runs beside."""
    if engine.dialect.name == "sqlite":
        # SQLite alters a table by copying and dropping it, which the rows that refer to it would forbid.
        with transaction(engine.execution_options(sqlite_foreign_keys=False)) as connection:
            yield connection
        return
    # The lock's own connection outlives the transaction, so the next one sees what this one committed.
    with reading(engine) as guard:
        if guard.scalar(_LOCK, {"timeout_s": ANSWER_TIMEOUT_S // 2}) != 1:
            raise UnavailableError(f"{database_name(engine)} is being migrated by another process; try again later")
        try:
            with transaction(engine) as connection:
                yield connection
        finally:
            guard.execute(_UNLOCK)
