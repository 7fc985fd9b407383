"""API keys: made by the command line, shown once, kept as SHA-256.

A key is `sk_live_` and 32 random bytes; so long a secret needs no slow hash.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.rows import class_row

from optimization_tracking.queries import render_query
from optimizer.errors import ConfigError

KEY_PREFIX = "sk_live_"
SCOPES = ("read", "write")
DEFAULT_RATE_PER_S = 1000
MIN_SECRET_CHARACTERS = 32
"""Of a key that is chosen elsewhere, after its beginning."""

_SHOWN_CHARACTERS = len(KEY_PREFIX) + 6


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A row of optimization_api_keys without its hash; `prefix` is what people may see of the key."""

    id: Any
    project_id: str
    name: str
    prefix: str
    scopes: list[str]
    rate_limit_per_s: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def new_key() -> str:
    """Return the text of a new random key."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> bytes:
    """Return what the database keeps of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def ensure_project(connection: psycopg.Connection[Any], project_id: str, *, name: str | None = None) -> bool:
    """Make the project where it is missing, and return whether it was.

    Raises:
        ConfigError: the id has characters other than letters, digits, _ . and -.
    """
    try:
        with _as_service(connection):
            done = connection.execute(
                "INSERT INTO project_config (id, name) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING",
                [project_id, name or project_id],
            )
    except pg.CheckViolation:
        raise ConfigError(f"project {project_id!r}: use up to 100 letters, digits, _ . and -") from None
    return done.rowcount == 1


def create_key(
    connection: psycopg.Connection[Any],
    project_id: str,
    *,
    name: str,
    scopes: tuple[str, ...] = SCOPES,
    rate_limit_per_s: int = DEFAULT_RATE_PER_S,
    expires_at: datetime | None = None,
    key: str | None = None,
) -> tuple[str, ApiKey]:
    """Return a new key, which cannot be read again, and its row.

    Args:
        key: a text from `new_key` that is kept elsewhere; made here where it is None.
        expires_at: when it expires; None for never.

    Raises:
        ConfigError: the project does not exist, or a scope is unknown.
    """
    if not scopes or set(scopes) - set(SCOPES):
        raise ConfigError(f"scopes {', '.join(scopes) or '(none)'}: choose from {', '.join(SCOPES)}")
    key = key or new_key()
    row = {
        "project_id": project_id,
        "name": name,
        "prefix": key[:_SHOWN_CHARACTERS],
        "sha256": hash_key(key),
        "scopes": list(scopes),
        "rate_limit_per_s": rate_limit_per_s,
        "expires_at": expires_at,
    }
    try:
        with _as_service(connection), connection.cursor(row_factory=class_row(ApiKey)) as cursor:
            made = cursor.execute(render_query("insert_api_key"), row).fetchone()
    except pg.ForeignKeyViolation:
        raise ConfigError(f"project {project_id!r} does not exist; add --create-project to create it") from None
    assert made is not None  # noqa: S101 - an INSERT with RETURNING gives a row or raises
    return key, made


def ensure_key(connection: psycopg.Connection[Any], project_id: str, *, name: str, key: str) -> None:
    """Make a key whose text is kept elsewhere, unless it is there; a revoked one stays revoked.

    Raises:
        ConfigError: the text is none that the API would take, or is short enough to be guessed.
    """
    if not key.startswith(KEY_PREFIX) or len(key) < len(KEY_PREFIX) + MIN_SECRET_CHARACTERS:
        raise ConfigError(
            f"the key for project {project_id!r} must be {KEY_PREFIX} and {MIN_SECRET_CHARACTERS} random characters or "
            "more; `keys create` makes one"
        )
    with _as_service(connection):
        known = connection.execute("SELECT 1 FROM optimization_api_keys WHERE sha256 = %s", [hash_key(key)]).fetchone()
    if known:
        return
    with suppress(pg.UniqueViolation):  # another process made it just now
        create_key(connection, project_id, name=name, key=key)


def list_keys(connection: psycopg.Connection[Any], *, project_id: str | None = None) -> list[ApiKey]:
    """Return the keys of a project or of all, oldest first, the revoked ones too."""
    with _as_service(connection), connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(render_query("list_api_keys"), {"project_id": project_id}).fetchall()


def revoke_key(connection: psycopg.Connection[Any], prefix: str) -> ApiKey:
    """End a key at once, and return its row.

    Raises:
        ConfigError: the prefix fits no living key, or several.
    """
    found = _find(connection, prefix)
    with _as_service(connection), connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        cursor.execute(render_query("revoke_api_key"), {"id": found.id})
        return cursor.fetchone() or found


def rotate_key(
    connection: psycopg.Connection[Any], prefix: str, *, grace: timedelta, expires_at: datetime | None = None
) -> tuple[str, ApiKey, ApiKey]:
    """Return a new key like the old one, its row, and the old one's row, which works until `grace` is over.

    The new key ends when the old one would have, unless `expires_at` says otherwise.

    Raises:
        ConfigError: as `revoke_key`; or the key has expired, which ends its rights too.
    """
    old = _find(connection, prefix)
    with connection.transaction():
        with _as_service(connection), connection.cursor(row_factory=class_row(ApiKey)) as cursor:
            retiring = cursor.execute(render_query("retire_api_key"), {"id": old.id, "grace": grace}).fetchone()
        if retiring is None:
            raise ConfigError(f"{old.prefix!r} is revoked or expired; make a new key with `keys create`")
        key, made = create_key(
            connection,
            old.project_id,
            name=old.name,
            scopes=tuple(old.scopes),
            rate_limit_per_s=old.rate_limit_per_s,
            expires_at=expires_at or old.expires_at,
        )
    return key, made, retiring


def _find(connection: psycopg.Connection[Any], prefix: str) -> ApiKey:
    living = [key for key in list_keys(connection) if key.revoked_at is None]
    found = [key for key in living if key.prefix.startswith(prefix[:_SHOWN_CHARACTERS]) and len(prefix) > 8]
    if len(found) != 1:
        many = "no key that lives" if not found else f"{len(found)} keys"
        raise ConfigError(f"{prefix[:_SHOWN_CHARACTERS]!r} fits {many}; `keys list` shows the prefixes")
    return found[0]


@contextmanager
def _as_service(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Give a transaction in the role that sees every project."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE optimization_service")
        yield
        connection.execute("SET LOCAL ROLE NONE")  # a transaction around this one goes on as it was
