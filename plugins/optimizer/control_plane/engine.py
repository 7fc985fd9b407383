"""Open the control plane's database; give one transaction, or one consistent read.

SQLite writes begin with BEGIN IMMEDIATE, so writers queue up instead of failing. MariaDB and MySQL write in
READ COMMITTED, where a statement that waited for a lock sees what the other transaction left, and read in
REPEATABLE READ, where all statements of one read see the same moment.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, ExceptionContext, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from optimizer.control_plane.failures import explain, is_timeout
from optimizer.control_plane.sqlite_connections import POOL_OPTIONS, keep_connections
from optimizer.errors import ConfigError

CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 60
SQLITE_BUSY_TIMEOUT_MS = 30_000
DIALECTS = ("sqlite", "mysql+mysqlconnector", "mysql+pymysql")

_CONNECT_TIMEOUT_NAMES = {"mysql+pymysql": "connect_timeout", "mysql+mysqlconnector": "connection_timeout"}
# The connector's own choice of collation depends on its release; this one is known to MariaDB and MySQL.
_CHARSETS = {
    "mysql+pymysql": {"charset": "utf8mb4"},
    "mysql+mysqlconnector": {"charset": "utf8mb4", "collation": "utf8mb4_general_ci"},
}


def open_engine(
    url: str, *, connect_timeout_s: int = CONNECT_TIMEOUT_S, answer_timeout_s: int = ANSWER_TIMEOUT_S
) -> Engine:
    """Return an engine for `url`, e.g. sqlite:////data/control.db or mysql+pymysql://user:password@host/database.

    Connects only when it is used. What the URL's query sets wins over our own settings.

    Args:
        connect_timeout_s, answer_timeout_s: as in `driver_options`.

    Raises:
        ConfigError: the URL cannot be read, or names a database or driver that is not supported or not installed.
    """
    parsed = _parse_url(url)
    options = driver_options(parsed.drivername, connect_timeout_s=connect_timeout_s, answer_timeout_s=answer_timeout_s)
    connect_args = {key: value for key, value in options.items() if key not in parsed.query}
    if parsed.drivername == "mysql+pymysql" and parsed.password is not None:
        # As a text it would have to be Latin-1, and would be sent as that.
        connect_args["password"] = parsed.password.encode()
    try:
        pool_options = POOL_OPTIONS if parsed.drivername == "sqlite" else _pool_options(parsed.drivername)
        engine = create_engine(parsed, connect_args=connect_args, **pool_options)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{_name(parsed)}: the driver of {parsed.drivername} is not installed ({error.name} is missing); install "
            "it, or use the scheme mysql+pymysql"
        ) from None
    if parsed.drivername == "sqlite":
        keep_connections(engine, busy_timeout_ms=SQLITE_BUSY_TIMEOUT_MS)
    return _prepare(engine, _name(parsed))


def open_engine_from(connect: Callable[[], Any], *, dialect: str, name: str = "control plane") -> Engine:
    """Return an engine over the connections that `connect` makes, e.g. an Airflow hook's get_conn.

    Args:
        connect: returns a new DBAPI connection of the dialect's driver; gives it the `driver_options`, without which
            a silent server is waited for as long as the driver likes.
        dialect: one of DIALECTS.
        name: what messages call the database.

    Raises:
        ConfigError: the dialect is not supported.
    """
    if dialect not in DIALECTS:
        raise ConfigError(f"{name}: dialect {dialect!r} is not supported; use one of {', '.join(DIALECTS)}")
    return _prepare(create_engine(f"{dialect}://", creator=connect, **_pool_options(dialect)), name)


def driver_options(
    dialect: str, *, connect_timeout_s: int = CONNECT_TIMEOUT_S, answer_timeout_s: int = ANSWER_TIMEOUT_S
) -> dict[str, Any]:
    """Return what the dialect's driver needs to connect: character set, and how long it waits for a silent server.

    Args:
        connect_timeout_s: for each step of connecting and greeting.
        answer_timeout_s: for each answer to a statement; the waits for row locks are part of it.
    """
    if dialect == "sqlite":
        return {}
    timeouts = {_CONNECT_TIMEOUT_NAMES[dialect]: connect_timeout_s}
    return {**_CHARSETS[dialect], **timeouts, "read_timeout": answer_timeout_s, "write_timeout": answer_timeout_s}


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose writes are committed together at the end of the block, or not at all.

    Raises:
        UnavailableError: the database is silent; the same call may succeed later.
        ConfigError: it refuses the login or the statement, or its tables are missing.
    """
    with _answering(engine), engine.connect() as connection:
        connection = connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        with connection.begin():
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose statements all see the same moment; raises as `transaction`."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with _answering(engine), engine.connect() as connection:
        yield connection.execution_options(**options)


def database_name(engine: Engine) -> str:
    """Return what messages call the database: host and name, never the password."""
    return str(engine.get_execution_options()["database_name"])


@contextmanager
def _answering(engine: Engine) -> Iterator[None]:
    driver = engine.dialect.loaded_dbapi.Error
    try:
        yield
    except (DBAPIError, driver) as error:
        explained = explain(error, database=database_name(engine))
        if explained is None:
            raise
        raise explained from error


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError("the control plane's URL cannot be read; write mysql+pymysql://user@host/database") from None
    if parsed.drivername not in DIALECTS:
        raise ConfigError(f"the control plane cannot use {parsed.drivername}; use one of {', '.join(DIALECTS)}")
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("the control plane needs a SQLite file, each connection being its own; name one in the URL")
    return parsed


def _name(url: URL) -> str:
    if url.drivername == "sqlite":
        return f"control plane {url.database}"
    return f"control plane {url.database} on {url.host}:{url.port or 3306}"


def _pool_options(dialect: str) -> dict[str, Any]:
    if dialect == "sqlite":
        return {"poolclass": NullPool}
    return {"pool_pre_ping": True, "pool_recycle": 3600, "isolation_level": "READ COMMITTED"}


def _prepare(engine: Engine, name: str) -> Engine:
    engine.update_execution_options(database_name=name)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_mysql)
        event.listen(engine, "handle_error", _drop_silent)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # The driver would begin transactions by its own rules: SQLAlchemy's recipe for real ones is to switch it off.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # No busy time-out holds here. The process that holds the lock is switching the file at this moment.
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("sqlite_foreign_keys", True):  # cannot be changed inside a transaction
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN"))


def _drop_silent(context: ExceptionContext) -> None:
    # Else the rollback, and again the pool's reset, would wait for the silent server as long as the statement did.
    if is_timeout(context.original_exception):
        context.is_disconnect = True


def _prepare_mysql(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SET time_zone = '+00:00', sql_mode = 'TRADITIONAL'")
    cursor.close()
