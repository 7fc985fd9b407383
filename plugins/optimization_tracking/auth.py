"""Authentication: a project's API key or, where a login is given, a user of that login.

Authorization: Bearer sk_live_…      or      X-API-Key: sk_live_…
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from optimization_tracking.database import Database
from optimization_tracking.keys import KEY_PREFIX, hash_key
from optimization_tracking.problem_details import Refusal, invalid, missing_database, not_found
from optimization_tracking.rate_limits import RateLimits

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_DENIED = {"WWW-Authenticate": "Bearer"}

# They only describe the headers to OpenAPI; the headers are read below.
_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key, or a login's token.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="apiKey", description="An API key.")


@dataclass(frozen=True, slots=True)
class LoginUser:
    """A user that a login let in: sees every project, writes only with `can_write`."""

    name: str
    can_write: bool


Login = Callable[[Request], Awaitable[LoginUser]]
"""Returns the request's user, or raises HTTPException 401 or 403."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller: the projects it can read, and whether it may change them."""

    name: str
    projects: tuple[str, ...]
    can_read: bool
    can_write: bool

    def choose_project(self, wanted: str | None) -> str:
        """Return the project that a request is about.

        Raises:
            Refusal: it is none of the caller's, or the caller has several and named none.
        """
        if wanted is not None:
            if wanted not in self.projects:
                raise not_found("project")
            return wanted
        if len(self.projects) != 1:
            raise invalid("projectId", "name the project; GET /projects lists yours")
        return self.projects[0]


@dataclass(frozen=True, slots=True)
class Door:
    """What lets callers in."""

    login: Login | None
    limits: RateLimits
    origins: frozenset[str]


async def authenticate(
    request: Request, _token: Annotated[Any, Security(_bearer)], _key: Annotated[Any, Security(_header)]
) -> Caller:
    """Return the caller.

    Raises:
        Refusal: 401 without a valid key or login, 403 for a foreign page, 429 above the key's rate.
    """
    database: Database | None = request.app.state.database
    if database is None:
        raise missing_database()
    door: Door = request.app.state.door
    key = _presented_key(request)
    if key is not None:
        return await _key_caller(database, door.limits, key)
    if door.login is None:
        raise Refusal(401, "send a key: Authorization: Bearer sk_live_…", headers=_DENIED)
    _refuse_foreign_page(request, door.origins)
    visitor = await door.login(request)
    async with database.connection() as connection:
        rows = await (await connection.execute("SELECT optimization_list_projects()")).fetchall()
    return Caller(visitor.name, tuple(row[0] for row in rows), can_read=True, can_write=visitor.can_write)


Authenticated = Annotated[Caller, Depends(authenticate)]


async def _may_read(caller: Authenticated) -> Caller:
    if not caller.can_read:
        raise Refusal(403, f"{caller.name} may not read; use a key with the scope read")
    return caller


async def _may_write(caller: Authenticated) -> Caller:
    if not caller.can_write:
        raise Refusal(403, f"{caller.name} may not write; use a key with the scope write")
    return caller


Reader = Annotated[Caller, Depends(_may_read)]
Writer = Annotated[Caller, Depends(_may_write)]


def _presented_key(request: Request) -> str | None:
    if (key := request.headers.get("X-API-Key")) is not None:
        return key
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token.startswith(KEY_PREFIX) else None


async def _key_caller(database: Database, limits: RateLimits, key: str) -> Caller:
    async with database.connection() as connection:
        cursor = await connection.execute("SELECT * FROM optimization_find_api_key(%s)", [hash_key(key)])
        row = await cursor.fetchone()
    if row is None:
        raise Refusal(401, "the key is unknown, revoked or expired", headers=_DENIED)
    key_id, project_id, scopes, rate_limit_per_s = row
    limits.take(key_id, rate_per_s=rate_limit_per_s)
    return Caller(f"key of {project_id}", (project_id,), can_read="read" in scopes, can_write="write" in scopes)


def _refuse_foreign_page(request: Request, origins: frozenset[str]) -> None:
    """A browser sends its cookie with any page's request; only our own pages may write with it."""
    if request.method in SAFE_METHODS or "Authorization" in request.headers:
        return
    origin = request.headers.get("Origin")
    if origin is None or (urlsplit(origin).netloc != request.headers.get("Host") and origin not in origins):
        raise Refusal(403, "a write with a cookie needs the Origin of this server's own pages")
