"""Connections to the tracking database: one for a command, a pool for the service."""

import os
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from optimizer.errors import ConfigError, UnavailableError
from optimizer.names import TRACKING_URL_VARIABLE

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
POOL_TIMEOUT_S = 5
DEFAULT_POOL_SIZE = 8


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


def open_pool(url: str, *, size: int = DEFAULT_POOL_SIZE) -> AsyncConnectionPool[Any]:
    """Return a pool that connects once it is opened; waiting longer than POOL_TIMEOUT_S raises PoolTimeout."""
    check_url(url)
    return AsyncConnectionPool(
        url,
        kwargs={**_settings(url, f"-c statement_timeout={STATEMENT_TIMEOUT_MS}"), "autocommit": True},
        min_size=1,
        max_size=size,
        open=False,
        timeout=POOL_TIMEOUT_S,
        name="optimization-tracking",
    )


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
