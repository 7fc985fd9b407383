"""What is shown instead of an answer: a page for people, application/problem+json (RFC 9457) for programs."""

import logging
import traceback
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from optimizer.console.rendering import render, retry_headers
from optimizer.errors import (
    ArtifactError,
    ConfigChanged,
    ConfigError,
    DeploymentError,
    OptimizerError,
    RequestError,
    RunStateError,
    SplitChanged,
    UnavailableError,
    UnknownEntity,
)
from optimizer.names import CONSOLE_API_PATH

MEDIA_TYPE = "application/problem+json"

STATUSES: tuple[tuple[type[OptimizerError], int], ...] = (
    (UnavailableError, 503),
    (SplitChanged, 412),
    (ConfigChanged, 412),
    (UnknownEntity, 404),
    (DeploymentError, 409),
    (RunStateError, 409),
    (ArtifactError, 502),
    (RequestError, 422),
    (ConfigError, 422),
)
"""Error: its HTTP status; the first that fits counts."""

NO_CLIENT = "This client does not exist, or you may not read its DAG; the page Clients lists yours."

_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Answer every error of the app with a page or a problem."""
    app.exception_handler(OptimizerError)(_on_error)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(RequestValidationError)(_on_invalid)
    app.exception_handler(UnicodeEncodeError)(_on_half_character)
    app.exception_handler(Exception)(_on_fault)


def status_of(error: OptimizerError | HTTPException) -> int:
    """Return the HTTP status that an error is answered with."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


async def _on_error(request: Request, error: OptimizerError) -> Response:
    status = status_of(error)
    # The error's own text names the other clients, which the visitor may not be allowed to see.
    detail = NO_CLIENT if isinstance(error, UnknownEntity) else str(error)
    return _answer(request, status, detail)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    detail = str(error.detail)
    if error.status_code == 401:
        detail = "Sign in to Airflow, then load this page again."
    if error.status_code == 404 and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "This page does not exist."
    return _answer(request, error.status_code, detail, headers=dict(error.headers or {}))


async def _on_invalid(request: Request, error: RequestValidationError) -> Response:
    parts = [f"{'.'.join(map(str, found['loc'][1:])) or found['loc'][0]}: {found['msg']}" for found in error.errors()]
    return _answer(request, 422, "; ".join(parts))


async def _on_half_character(request: Request, error: UnicodeEncodeError) -> Response:
    # JSON can name half of a pair, as \ud800 alone; neither a database nor an answer can hold it.
    return _answer(request, 422, "A text holds half of a surrogate pair, which is not a character; send whole ones.")


async def _on_fault(request: Request, error: Exception) -> Response:
    # Without the error's text, which may hold the values of a row.
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s %s failed: %s\n%s", request.method, request.url.path, type(error).__name__, frames)
    return _answer(request, 500, "The console failed; the api-server's log has the reason.")


def _answer(request: Request, status: int, detail: str, *, headers: dict[str, str] | None = None) -> Response:
    title, path = HTTPStatus(status).phrase, request.url.path
    if path.removeprefix(request.scope["root_path"]).startswith(f"{CONSOLE_API_PATH}/"):
        problem = {"title": title, "status": status, "detail": detail, "instance": path}
        own = (headers or {}) | retry_headers(status)
        return JSONResponse(problem, status_code=status, headers=own, media_type=MEDIA_TYPE)
    page = render(request, "failure", status=status, title=title, detail=detail)
    page.headers.update(headers or {})
    return page
