"""What is shown instead of a page: the sign-in form if there is no session, else the error message."""

from http import HTTPStatus

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

from optimization_tracking.dashboard.rendering import render
from optimization_tracking.problem_details import Refusal, explain_logged
from optimization_tracking.server_errors import Faults

_FAULT = Refusal(500, "The service failed; its log has the reason.")


def install(app: FastAPI) -> None:
    """Let every refusal of the dashboard be a page."""
    app.exception_handler(Refusal)(_on_refusal)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(RequestValidationError)(_on_invalid)
    app.add_exception_handler(psycopg.Error, _on_database_error)
    app.add_exception_handler(PoolTimeout, _on_database_error)
    app.add_middleware(Faults, answer=_fault)


async def _on_refusal(request: Request, refusal: Refusal) -> HTMLResponse:
    if refusal.status == 401 and request.app.state.sessions is not None:
        place = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        return render(request, "sign_in", status=401, next_page=place, reason=None)
    return _failure(request, refusal)


async def _on_http_error(request: Request, error: HTTPException) -> HTMLResponse:
    if error.status_code == 401:
        return _failure(request, Refusal(401, "Sign in to Airflow first, then load this page again."))
    detail = "This page does not exist." if error.status_code == 404 else str(error.detail)
    return _failure(request, Refusal(error.status_code, detail, headers=error.headers or {}))


async def _on_invalid(request: Request, error: RequestValidationError) -> HTMLResponse:
    return _failure(request, Refusal(404, "This page does not exist: the address has no run id."))


async def _on_database_error(request: Request, error: Exception) -> HTMLResponse:
    return _failure(request, explain_logged(request, error, fault=_FAULT))


def _fault(request: Request) -> HTMLResponse:
    return _failure(request, _FAULT)


def _failure(request: Request, refusal: Refusal) -> HTMLResponse:
    title = HTTPStatus(refusal.status).phrase
    page = render(request, "failure", status=refusal.status, title=title, detail=refusal.detail)
    page.headers.update(refusal.headers)
    return page
