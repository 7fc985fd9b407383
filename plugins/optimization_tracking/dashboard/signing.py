"""Sign in with an API key, once; sign out."""

from urllib.parse import parse_qsl, unquote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from optimization_tracking.auth import authenticate, is_own_page
from optimization_tracking.bodies import read_limited
from optimization_tracking.dashboard.rendering import render
from optimization_tracking.dashboard.sessions import Sessions, with_key
from optimization_tracking.database import Database
from optimization_tracking.keys import KEY_PREFIX
from optimization_tracking.problem_details import Refusal, missing_database

MAX_FORM_BYTES = 16 * 1024

router = APIRouter()


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session, and lead to the page that was asked for."""
    _refuse_foreign_page(request)
    sessions = _sessions(request)
    form = dict(parse_qsl((await read_limited(request, max_bytes=MAX_FORM_BYTES)).decode(errors="replace")))
    key, wanted = form.get("key", "").strip(), form.get("next", "")
    base = request.scope["root_path"]
    next_page = wanted if _is_ours(wanted, base) else f"{base}/"
    reason = await _why_not(request, key)
    if reason is not None:
        return render(request, "sign_in", status=401, next_page=next_page, reason=reason)
    response = RedirectResponse(next_page, status_code=303)
    sessions.begin(response, key=key, path=base, is_secure=request.url.scheme == "https")
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session; the key itself is ended by `keys revoke`."""
    _refuse_foreign_page(request)
    base = request.scope["root_path"]
    response = RedirectResponse(f"{base}/", status_code=303)
    database: Database | None = request.app.state.database
    if database is None:
        raise missing_database()
    await _sessions(request).end(request, response, database=database, path=base)
    return response


async def _why_not(request: Request, key: str) -> str | None:
    """Return why a key opens no session, or None."""
    if not key.startswith(KEY_PREFIX) or not key.isascii() or not key.isprintable():
        return f"An API key begins with {KEY_PREFIX} and has no spaces or other signs around it."
    try:
        caller = await authenticate(with_key(request, key))
    except Refusal as refusal:
        if refusal.status != 401:
            raise
        return "The key is unknown, revoked or expired."
    return None if caller.can_read else "The key may only write; use one with the scope read."


def _sessions(request: Request) -> Sessions:
    sessions: Sessions | None = request.app.state.sessions
    if sessions is None:
        raise Refusal(404, "This page does not exist.")
    return sessions


def _is_ours(path: str, base: str) -> bool:
    """Whether a path is below the dashboard's own, so that sign-in never redirects to another site."""
    steps = unquote(path.partition("?")[0]).split("/")
    return path.startswith(f"{base}/") and "\\" not in path and path.isprintable() and ".." not in steps


def _refuse_foreign_page(request: Request) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and not is_own_page(request, origin, request.app.state.door.origins):
        raise Refusal(403, "Only this server's own pages may sign in or out.")
