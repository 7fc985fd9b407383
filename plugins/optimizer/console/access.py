"""Who visits the console, and which clients they may read and change: decided by the server that mounts it."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in user.

    readable, writable: return those of the entity codes that the user may read, and may change.
    """

    name: str
    readable: Callable[[Collection[str]], set[str]]
    writable: Callable[[Collection[str]], set[str]]


Login = Callable[[Request], Awaitable[Visitor]]
"""Returns the request's user, or raises HTTPException 401 or 403."""


async def let_in(request: Request) -> Visitor:
    """Return the visitor.

    Raises:
        HTTPException: 401 without a login, 403 for a user without any rights or a write from a foreign page.
    """
    _refuse_foreign_page(request)
    login: Login = request.app.state.login
    return await login(request)


Reader = Annotated[Visitor, Depends(let_in)]


def require_readable(visitor: Visitor, entity_code: str) -> str:
    """Return the entity code.

    Raises:
        HTTPException: 404, the same as for a client that does not exist.
    """
    if entity_code not in visitor.readable([entity_code]):
        raise HTTPException(
            404, f"client {entity_code!r} does not exist, or you may not read its DAG; the page Clients lists yours"
        )
    return entity_code


def require_writable(visitor: Visitor, entity_code: str) -> str:
    """Return the entity code.

    Raises:
        HTTPException: 404 for a client that the visitor may not read, 403 for one that they may not change.
    """
    require_readable(visitor, entity_code)
    if entity_code not in visitor.writable([entity_code]):
        raise HTTPException(403, f"{visitor.name} may not trigger the DAG of {entity_code}, so may not change it here")
    return entity_code


def _refuse_foreign_page(request: Request) -> None:
    """A browser sends its cookie with any page's request; only this server's own pages may write with it."""
    # Of the schemes a browser adds Basic and others by itself, behind a proxy that asks for them.
    has_token = request.headers.get("Authorization", "").lower().startswith("bearer ")
    if request.method in SAFE_METHODS or has_token:
        return
    origin = request.headers.get("Origin")
    is_own = origin is not None and urlsplit(origin).netloc == request.headers.get("Host")
    if not is_own and origin not in request.app.state.origins:
        raise HTTPException(403, "a write with a cookie needs the Origin of this server's own pages")
