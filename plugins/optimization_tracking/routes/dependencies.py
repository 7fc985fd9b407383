"""What the routes have in common: the database of a request, and the refusals that OpenAPI names."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Path, Request, Response
from pydantic import BaseModel

from optimization_tracking.database import Database
from optimization_tracking.models.answers import Problem
from optimization_tracking.models.values import MAX_INT
from optimization_tracking.problem_details import MEDIA_TYPE, missing_database


async def _database(request: Request) -> Database:
    database: Database | None = request.app.state.database
    if database is None:
        raise missing_database()
    return database


Tracking = Annotated[Database, Depends(_database)]
RunId = Annotated[UUID, Path(alias="runId")]
IterationNumber = Annotated[int, Path(ge=0, le=MAX_INT)]
Prefer = Annotated[
    str | None, Header(alias="Prefer", description="return=minimal: the answer holds no rows, only their number.")
]

_REFUSALS = {
    400: "The body is not JSON.",
    401: "No key or login, or one that is unknown, revoked or expired.",
    403: "The key lacks the scope.",
    404: "There is none among the caller's projects.",
    409: "It is there already, or its status cannot change so.",
    412: "The run is in another version than those of If-Match.",
    413: "The body is too long.",
    415: "The body is compressed, or not of the type application/json.",
    422: "A value does not match the API.",
    429: "The key asked too often.",
    503: "The database does not answer.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of the refusals of a route: these, and those that every route has."""
    wanted = sorted({*statuses, 401, 403, 422, 429, 503})
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {status: {"description": _REFUSALS[status], "content": content} for status in wanted}


def answer_with(model: BaseModel, *, headers: dict[str, str] | None = None) -> Response:
    """Return 200 with a model that is valid already; FastAPI would check it once more and copy it first."""
    return Response(model.model_dump_json(), media_type="application/json", headers=headers)


def wants_rows(prefer: str | None) -> bool:
    """Return whether a batch is answered with its rows."""
    return "return=minimal" not in (prefer or "").replace(" ", "").lower()
