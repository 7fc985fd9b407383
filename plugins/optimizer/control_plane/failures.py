"""What a database's error means: it is silent (try again), it refuses us (a user must act), or neither."""

import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError

from optimizer.errors import ConfigError, OptimizerError, UnavailableError

MIGRATE_HINT = "run `optimizer migrate` with an account that may create tables"

_COLUMN_HINT = (
    f"{MIGRATE_HINT}; if it says that the tables are at this code's revision, the statement is wrong: report it"
)

# MySQL and MariaDB number the errors of the server from 1000, those of the client library from 2000.
_SILENT = {1040, 1042, 1053, 1077, 1129, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1290, 1317, 1836, 1927, 3024}
_CLIENT_ERRORS = range(2000, 3000)
_REFUSED_LOGIN = {1044, 1045, 1049, 1251, 1698, 2049, 2059, 3118}
_REFUSED_STATEMENT = {1142, 1143, 1227, 1370}
_NO_TABLE, _NO_COLUMN = 1146, 1054
_DUPLICATE = {1062, 1586}

# What mysql-connector says, without a number, of a connection that broke earlier.
_LOST = "MySQL Connection not available"

_SQLITE_SILENT = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_PROTOCOL")
_SQLITE_REFUSED = ("SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")
_SQLITE_DUPLICATE = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")


def explain(error: Exception, *, database: str) -> OptimizerError | None:
    """Return the error of ours that `error` stands for, or None where it is a fault of the statement.

    Args:
        error: SQLAlchemy's, or the driver's own: those of a session's first and last steps reach us unwrapped.
        database: names the database in the message; it holds no password.
    """
    orig = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(orig, sqlite3.Error):
        return _explain_sqlite(orig, database=database)
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return _explain_mysql(orig, is_lost=is_lost, database=database)


def is_duplicate(error: IntegrityError) -> bool:
    """Return whether a unique key refused the row, rather than a foreign key or a check."""
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorname in _SQLITE_DUPLICATE
    return _code(error.orig) in _DUPLICATE


def is_timeout(orig: BaseException | None) -> bool:
    """Return whether the driver gave a silent server up."""
    # mysql-connector's own time-outs carry no number and are not an OperationalError.
    return type(orig).__name__ in ("ReadTimeoutError", "WriteTimeoutError", "ConnectionTimeoutError")


def _explain_mysql(orig: BaseException | None, *, is_lost: bool, database: str) -> OptimizerError | None:
    code = _code(orig)
    if code in _REFUSED_LOGIN:
        return ConfigError(f"{database} refuses the login: {orig}; correct the connection or the account")
    if code in _REFUSED_STATEMENT:
        return ConfigError(f"{database} forbids the statement: {orig}; apply include/sql/mysql/grants.sql")
    if code == _NO_TABLE:
        return ConfigError(f"{database} lacks a table: {orig}; {MIGRATE_HINT}")
    if code == _NO_COLUMN:
        return ConfigError(f"{database} knows no such column: {orig}; {_COLUMN_HINT}")
    if is_lost or code in _SILENT or code in _CLIENT_ERRORS or is_timeout(orig) or _LOST in str(orig):
        return UnavailableError(f"{database} does not answer: {orig}; try again when it is up")
    return None


def _explain_sqlite(orig: sqlite3.Error, *, database: str) -> OptimizerError | None:
    name = getattr(orig, "sqlite_errorname", "") or ""
    if name.startswith(_SQLITE_SILENT):
        return UnavailableError(f"{database} does not answer: {orig}; try again when its other writers are done")
    if name.startswith(_SQLITE_REFUSED):
        return ConfigError(f"{database} cannot be used: {orig}; correct the path or its permissions")
    if str(orig).startswith(("no such table", "no such column")):
        return ConfigError(f"{database}: {orig}; {MIGRATE_HINT if 'table' in str(orig) else _COLUMN_HINT}")
    return None


def _code(orig: BaseException | None) -> int | None:
    code = getattr(orig, "errno", None) or (orig.args[0] if orig is not None and orig.args else None)
    return code if isinstance(code, int) else None
