"""Connections to the tracking database: one for a command, a pool for the service."""

import os
import select
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from optimization_tracking.queries import render_query
from optimizer.errors import ConfigError, UnavailableError
from optimizer.names import TRACKING_URL_VARIABLE

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
POOL_TIMEOUT_S = 5
DEFAULT_POOL_SIZE = 8
RECONNECT_S = 1.0
"""While the server is away, a connection is tried this often, however long it has been away."""

_POOLED = {
    "connect_timeout": 2,
    # A server that vanished without a word is noticed within seconds.
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}


def read_url() -> str | None:
    """Return what OPTIMIZER_TRACKING_URL holds, or None."""
    return os.environ.get(TRACKING_URL_VARIABLE) or None


def require_url() -> str:
    """Return the URL of the environment.

    Raises:
        ConfigError: there is none.
    """
    url = read_url()
    if url is None:
        raise ConfigError(f"set {TRACKING_URL_VARIABLE} to the tracking database, as postgresql://user@host/database")
    return url


def connect(url: str, **options: Any) -> psycopg.Connection[Any]:
    """Return an open connection in UTC.

    Raises:
        ConfigError: the URL cannot be read, or the server refuses the login.
        UnavailableError: the server does not answer.
    """
    check_url(url)
    try:
        return psycopg.connect(url, **_settings(url), **options)  # no statement time-out: migrations may take long
    except psycopg.OperationalError as error:
        # Without an SQL state the server did not answer; with one, it refused.
        kind = UnavailableError if error.sqlstate is None and "FATAL" not in str(error) else ConfigError
        raise kind(f"the tracking database: {error}") from error


def check_login(url: str) -> None:
    """Pass where the login sees a project only when the service names it, or where the server is away.

    Raises:
        ConfigError: it owns the tables, or can take the role that sees every project; or as `connect`.
    """
    try:
        with connect(url) as connection:
            row = connection.execute(render_query("login_rights")).fetchone()
    except UnavailableError:
        return  # every request is answered with 503 until it is back
    login, sees_every_project = row or ("", False)
    if sees_every_project:
        raise ConfigError(
            f"the login {login} owns the tracking tables or sees every project; serve with a login of its own: "
            "CREATE ROLE tracking LOGIN PASSWORD '…'; GRANT optimization_app, optimization_gate TO tracking"
        )


def open_pool(url: str, *, size: int = DEFAULT_POOL_SIZE) -> AsyncConnectionPool[Any]:
    """Return a pool that connects once it is opened; waiting longer than POOL_TIMEOUT_S raises PoolTimeout."""
    check_url(url)

    async def check(connection: AsyncConnection[Any]) -> None:
        try:
            await _check(connection)
        except psycopg.Error:
            await pool.check()  # a server that went away took the other idle connections along
            raise

    pool = AsyncConnectionPool[AsyncConnection[Any]](
        url,
        kwargs={**_settings(url, f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"), **_POOLED, "autocommit": True},
        min_size=1,
        max_size=size,
        open=False,
        timeout=POOL_TIMEOUT_S,
        check=check,
        # The pool waits twice as long after each attempt: it gives up after the first, and its check begins anew.
        reconnect_timeout=RECONNECT_S,
        reconnect_failed=AsyncConnectionPool.check,
        name="optimization-tracking",
    )
    return pool


async def _check(connection: AsyncConnection[Any]) -> None:
    """Ask the server only where an idle connection has something to read: as a rule, that it was closed."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)


def check_url(url: str) -> None:
    """Pass where libpq can read the URL; the message never contains its password."""
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigError(
            f"the tracking database's URL cannot be read; write {TRACKING_URL_VARIABLE}=postgresql://user@host/database"
        ) from None


def _settings(url: str, *more: str) -> dict[str, Any]:
    own = str(conninfo_to_dict(url).get("options") or "")
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "optimizer-tracking",
        "options": " ".join(["-c timezone=UTC", *more, own]).strip(),
    }
