"""Authentication: a project's API key or, where a login is given, a user of that login.

Authorization: Bearer sk_live_…      or      X-API-Key: sk_live_…
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from optimization_tracking.database import Database
from optimization_tracking.keys import KEY_PREFIX, hash_key
from optimization_tracking.lanes import Lanes
from optimization_tracking.problem_details import Refusal, invalid, missing_database, not_found
from optimization_tracking.rate_limits import RateLimits
from optimizer.presentation.formats import visible

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
WRONG_KEYS_PER_S = 1
WRONG_KEYS_BURST = 20
"""So many wrong keys an address may send before it has to wait."""
MAX_IN_FLIGHT = 32
"""Requests of one project that are worked on or wait for it; more are refused with 429."""
CHECKED_AT_ONCE = 1
"""Long bodies of one project that are checked at once: they cost processor time."""
CHECK_WAIT_S = 30.0
MAX_ADDRESS_CHARACTERS = 100
"""A proxy may pass anything on as its client's address."""

_DENIED = {"WWW-Authenticate": "Bearer"}
_MAX_KNOWN = 10_000

_log = logging.getLogger(__name__)

SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a login's token."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
"""What OpenAPI says of the headers that are read below."""


@dataclass(frozen=True, slots=True)
class LoginUser:
    """A user that a login let in: sees every project, writes only with `can_write`."""

    name: str
    can_write: bool


Login = Callable[[Request], Awaitable[LoginUser]]
"""Returns the request's user, or raises HTTPException 401 or 403."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller: the projects it can read, and whether it may change them. `actor` is its name in the audit."""

    name: str
    actor: str
    projects: tuple[str, ...]
    can_read: bool
    can_write: bool

    @property
    def lane(self) -> str:
        """What the caller's requests are counted by: its project, or the login's name."""
        return self.projects[0] if len(self.projects) == 1 else self.name

    @property
    def acting(self) -> dict[str, Any]:
        """Whom a statement that is a transaction of its own acts for."""
        return {"projects": list(self.projects), "actor": self.actor}

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


class KnownKeys:
    """The keys that were valid when they came last: they do not stand in line with keys that nobody knows."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def add(self, digest: bytes) -> None:
        """Remember a valid key; beyond _MAX_KNOWN the one that came least recently is forgotten."""
        self._digests[digest] = None
        self._digests.move_to_end(digest)
        if len(self._digests) > _MAX_KNOWN:
            self._digests.popitem(last=False)

    def discard(self, digest: bytes) -> None:
        """Forget a key that is no longer valid."""
        self._digests.pop(digest, None)


@dataclass(frozen=True, slots=True)
class Door:
    """What lets callers in, and how many at once."""

    login: Login | None
    origins: frozenset[str]
    wrong_keys_burst: int = WRONG_KEYS_BURST
    limits: RateLimits = field(default_factory=RateLimits)
    wrong_keys: RateLimits = field(default_factory=RateLimits)
    known: KnownKeys = field(default_factory=KnownKeys)
    in_flight: Lanes = field(default_factory=lambda: Lanes(MAX_IN_FLIGHT, wait_s=0, refuse=_too_many))
    checking: Lanes = field(default_factory=lambda: Lanes(CHECKED_AT_ONCE, wait_s=CHECK_WAIT_S, refuse=_too_many))


def _too_many() -> Refusal:
    reason = f"the project has {MAX_IN_FLIGHT} requests in progress; wait for some of them"
    return Refusal(429, reason, headers={"Retry-After": "1"})


async def authenticate(request: Request) -> Caller:
    """Return the caller.

    Raises:
        Refusal: 401 without a valid key or login, 403 for a foreign page, 429 above the key's rate or after many wrong
            keys from one address.
    """
    database: Database | None = request.app.state.database
    if database is None:
        raise missing_database()
    door: Door = request.app.state.door
    key = _presented_key(request)
    if key is not None:
        address = request.client.host[:MAX_ADDRESS_CHARACTERS] if request.client else ""
        return await _key_caller(database, door, key, address=address)
    if door.login is None:
        raise Refusal(401, "send a key: Authorization: Bearer sk_live_…", headers=_DENIED)
    _refuse_foreign_page(request, door.origins)
    visitor = await door.login(request)
    async with database.connection("login") as connection:
        rows = await (await connection.execute("SELECT optimization_list_projects()")).fetchall()
    return Caller(
        visitor.name, f"login {visitor.name}", tuple(row[0] for row in rows), can_read=True, can_write=visitor.can_write
    )


def require_right(caller: Caller, method: str) -> None:
    """Pass where the caller may send a request of the method."""
    if method in SAFE_METHODS and not caller.can_read:
        raise Refusal(403, f"{caller.name} may not read; use a key with the scope read")
    if method not in SAFE_METHODS and not caller.can_write:
        raise Refusal(403, f"{caller.name} may not write; use a key with the scope write")


async def _admitted(request: Request) -> Caller:
    """Return the caller whom the route has let in before it looked at the body."""
    caller: Caller = request.state.caller
    return caller


Admitted = Annotated[Caller, Depends(_admitted)]


def _presented_key(request: Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    bearer = token if scheme.lower() == "bearer" and token.startswith(KEY_PREFIX) else None
    key = request.headers.get("X-API-Key")
    if None not in (key, bearer) and key != bearer:
        reason = "Authorization and X-API-Key hold two different keys; send one of them"
        raise Refusal(401, reason, headers=_DENIED)
    return bearer if key is None else key


async def _key_caller(database: Database, door: Door, key: str, *, address: str) -> Caller:
    digest = hash_key(key)
    is_known = digest in door.known
    async with database.connection(digest if is_known else "unknown keys") as connection:
        if not is_known:
            who = "too many wrong keys came from your address"
            door.wrong_keys.take(address, rate_per_s=WRONG_KEYS_PER_S, burst=door.wrong_keys_burst, who=who)
        cursor = await connection.execute("SELECT * FROM optimization_find_api_key(%s)", [digest])
        row = await cursor.fetchone()
    if row is None:
        door.known.discard(digest)
        _log.warning("a key that is unknown, revoked or expired came from %s", visible(address) or "an unknown address")
        raise Refusal(401, "the key is unknown, revoked or expired", headers=_DENIED)
    if not is_known:
        door.wrong_keys.give_back(address)
        door.known.add(digest)
    key_id, project_id, scopes, rate_per_s = row
    door.limits.take(key_id, rate_per_s=rate_per_s, who=f"the key may ask {rate_per_s} times a second")
    return Caller(
        f"key of {project_id}", f"key {key_id}", (project_id,), can_read="read" in scopes, can_write="write" in scopes
    )


def is_own_page(request: Request, origin: str, origins: frozenset[str]) -> bool:
    """Return whether an Origin is this server's own, or one of `origins`."""
    try:
        host = urlsplit(origin).netloc
    except ValueError:  # half of an IPv6 address
        return False
    return (host != "" and host == request.headers.get("Host")) or origin in origins


def _refuse_foreign_page(request: Request, origins: frozenset[str]) -> None:
    """A browser sends its cookie with any page's request; only our own pages may write with it."""
    if request.method in SAFE_METHODS or "Authorization" in request.headers:
        return
    origin = request.headers.get("Origin")
    if origin is None or not is_own_page(request, origin, origins):
        raise Refusal(403, "a write with a cookie needs the Origin of this server's own pages")
