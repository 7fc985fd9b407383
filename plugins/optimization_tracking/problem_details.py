"""Refusals, as RFC 9457 has them: a title, a detail, and for each wrong field its path and reason."""

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from psycopg import errors as pg
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from optimization_tracking.models.answers import FieldError, Problem
from optimization_tracking.models.values import NO_NUL
from optimization_tracking.server_errors import Faults, kind_of, log_fault, path_of
from optimizer.names import TRACKING_URL_VARIABLE

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
MAX_FIELD_CHARACTERS = 200
"""Of the path of a wrong field, which has the caller's own names."""

_log = logging.getLogger(__name__)

_REASONS = {
    "extra_forbidden": "is not a field of this request",
    "missing": "is required",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "must be a JSON object"),
    "list_type": "must be a JSON array",
    "string_unicode": "half of a surrogate pair is not a character",
}
"""By pydantic's types of errors, where its own words are of Python."""

# A constraint of the tables, the field that breaks it, and what is wrong with it.
_CONSTRAINTS = {
    "optimization_runs_end_time": ("endTime", "is before startTime"),
    "idx_optimization_iterations_run_id": ("iteration", "this run has an iteration of that number already"),
    "idx_optimization_samples_run_id": ("sampleIndex", "this iteration has a sample of that index already"),
    "optimization_runs_totals": ("iterations", "a total would become negative"),
}
_MISSING_TABLES = (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction, pg.UndefinedObject)


class Refusal(Exception):
    """An answer of 4xx or 5xx; raised wherever the reason is found."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        self.errors = [FieldError(field=field, reason=reason) for field, reason in errors]


_FAULT = Refusal(500, "the service failed; its log has the reason")


def not_found(what: str) -> Refusal:
    """The one answer for what does not exist and for what belongs to another project."""
    return Refusal(404, f"your projects have no such {what}")


def invalid(field: str, reason: str) -> Refusal:
    """A value that the caller has to change."""
    return Refusal(422, f"{field}: {reason}", errors=[(field, reason)])


def unavailable(detail: str) -> Refusal:
    """The service cannot work now; the same request may succeed later."""
    return Refusal(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def answer(refusal: Refusal, *, path: str) -> Response:
    """Return the refusal as application/problem+json."""
    problem = Problem(
        title=HTTPStatus(refusal.status).phrase,
        status=refusal.status,
        detail=refusal.detail,
        instance=path,
        errors=refusal.errors,
    )
    return Response(
        problem.model_dump_json(), status_code=refusal.status, headers=refusal.headers, media_type=MEDIA_TYPE
    )


def explain(error: Exception) -> Refusal | None:
    """Return what a database's error means to the caller, or None where it is a fault of ours."""
    if isinstance(error, PoolTimeout):
        return unavailable("the tracking database does not answer; try again later")
    if isinstance(error, pg.UniqueViolation | pg.CheckViolation):
        field, reason = _CONSTRAINTS.get(error.diag.constraint_name or "", ("body", "the database refuses the value"))
        return Refusal(409 if isinstance(error, pg.UniqueViolation) else 422, reason, errors=[(field, reason)])
    if isinstance(error, pg.NumericValueOutOfRange):
        return invalid("body", "a total of the run would grow beyond what can be stored")
    if isinstance(error, pg.ForeignKeyViolation):
        return not_found("run")  # deleted meanwhile
    if isinstance(error, pg.QueryCanceled):
        return unavailable("the database took too long; try again, with more filters, a smaller limit or fewer rows")
    if isinstance(error, _MISSING_TABLES) or error.__class__ is pg.InvalidParameterValue:
        return unavailable("the tracking database lacks tables or roles; run `python -m optimization_tracking migrate`")
    if isinstance(error, pg.InsufficientPrivilege):
        return unavailable("the service's login lacks a role; grant it optimization_app and optimization_gate")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return unavailable("the tracking database does not answer; try again later")
    return None


def explain_logged(request: Request, error: Exception, *, fault: Refusal) -> Refusal:
    """Return what a database's error means to the caller, `fault` where it is ours; log what only we can fix."""
    refusal = explain(error)
    if refusal is None:
        log_fault(request, error)
        return fault
    if refusal.status >= 500:
        _log.warning("%s %s: %s", request.method, path_of(request), kind_of(error))
    return refusal


def install(app: FastAPI) -> None:
    """Let every refusal of the app, FastAPI's own included, be a problem."""
    app.exception_handler(Refusal)(_on_refusal)
    app.exception_handler(RequestValidationError)(_on_invalid)
    app.exception_handler(HTTPException)(_on_http_error)
    app.add_exception_handler(psycopg.Error, _on_database_error)
    app.add_exception_handler(PoolTimeout, _on_database_error)
    app.add_middleware(Faults, answer=_fault)


async def _on_refusal(request: Request, error: Refusal) -> Response:
    return answer(error, path=path_of(request))


async def _on_invalid(request: Request, error: RequestValidationError) -> Response:
    errors = [(_field(problem), _reason(problem)) for problem in error.errors()]
    if errors and error.errors()[0]["type"] == "json_invalid":
        return answer(Refusal(400, "the body is not JSON", errors=errors), path=path_of(request))
    count = "one value is" if len(errors) == 1 else f"{len(errors)} values are"
    return answer(Refusal(422, f"{count} invalid", errors=errors), path=path_of(request))


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    headers, detail = dict(error.headers or {}), str(error.detail)
    if error.status_code == 405:
        # Starlette names the methods of the first route of the path only.
        routes = [route for route in request.app.routes if isinstance(route, Route)]
        path = next((route.path for route in routes if route.matches(request.scope)[0] is not Match.NONE), None)
        methods = {method for route in routes if route.path == path for method in route.methods or ()}
        headers["Allow"] = ", ".join(sorted(methods))
        detail = f"{request.method} is not allowed here; the path takes {headers['Allow']}"
    elif error.status_code == 404 and error.detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"the API has no such path; {request.scope.get('root_path', '')}{request.app.openapi_url} has them all"
    return answer(Refusal(error.status_code, detail, headers=headers), path=path_of(request))


async def _on_database_error(request: Request, error: Exception) -> Response:
    return answer(explain_logged(request, error, fault=_FAULT), path=path_of(request))


def _fault(request: Request) -> Response:
    return answer(_FAULT, path=path_of(request))


def _field(problem: Mapping[str, Any]) -> str:
    place, *rest = problem["loc"]
    if problem["type"] == "json_invalid":
        return "body"
    return (".".join(map(str, rest)) or str(place))[:MAX_FIELD_CHARACTERS]


def _reason(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        return f"{problem['ctx']['error']} at character {problem['loc'][-1]}"
    if problem["type"] == "string_pattern_mismatch" and problem["ctx"]["pattern"] == NO_NUL:
        return "the character NUL cannot be stored"
    if reason := _REASONS.get(problem["type"]):
        return reason
    return str(problem["msg"]).removeprefix("Value error, ")


def missing_database() -> Refusal:
    """What every route answers where no database is configured."""
    return unavailable(f"the service has no database; set {TRACKING_URL_VARIABLE} and restart it")
