"""What is shown instead of a page: the sign-in where there is no session, else the refusal in words."""

import logging
import traceback
from http import HTTPStatus

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from optimizer.tracking.dashboard.rendering import render
from optimizer.tracking.problems import Refusal, explain

_log = logging.getLogger(__name__)

_FAULT = Refusal(500, "The service failed; its log has the reason.")


def install(app: FastAPI) -> None:
    """Let every refusal of the dashboard be a page."""
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(psycopg.Error, _on_database_error)
    app.add_exception_handler(PoolTimeout, _on_database_error)
    app.add_middleware(Faults)


async def _on_refusal(request: Request, refusal: Refusal) -> HTMLResponse:
    if refusal.status == 401 and request.app.state.sessions is not None:
        place = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        return render(request, "sign_in", status=401, next_page=place, reason=None)
    return _failure(request, refusal)


async def _on_http_error(request: Request, error: HTTPException) -> HTMLResponse:
    if error.status_code == 401:
        return _failure(request, Refusal(401, "Sign in to Airflow first, then load this page again."))
    detail = "There is no such page." if error.status_code == 404 else str(error.detail)
    return _failure(request, Refusal(error.status_code, detail, headers=error.headers or {}))


async def _on_invalid(request: Request, error: RequestValidationError) -> HTMLResponse:
    return _failure(request, Refusal(404, "There is no such page: the address holds no id of a run."))


async def _on_database_error(request: Request, error: Exception) -> HTMLResponse:
    refusal = explain(error)
    if refusal is None:
        return _fault(request, error)
    if refusal.status >= 500:
        _log.warning("%s %s: %s", request.method, request.url.path, type(error).__name__)
    return _failure(request, refusal)


class Faults:
    """ASGI middleware that shows a page for a fault of ours.

    Starlette's own handler would raise the error again, and the server would log its text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await _fault(Request(scope), error)(scope, receive, send)


def _fault(request: Request, error: Exception) -> HTMLResponse:
    # The error's own text may hold the values of a row.
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s %s failed: %s\n%s", request.method, request.url.path, type(error).__name__, frames)
    return _failure(request, _FAULT)


def _failure(request: Request, refusal: Refusal) -> HTMLResponse:
    title = HTTPStatus(refusal.status).phrase
    page = render(request, "failure", status=refusal.status, title=title, detail=refusal.detail)
    page.headers.update(refusal.headers)
    return page
