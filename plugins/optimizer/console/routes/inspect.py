"""Inspect a request: how one bid request is priced, now or at a past time."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from optimizer.console.access import require_readable
from optimizer.console.answers.inspect import InspectedRequest, inspect_request
from optimizer.console.context import Asked
from optimizer.console.failures import status_of
from optimizer.console.forms import Form
from optimizer.console.moments import in_utc, read_moment
from optimizer.console.rendering import render
from optimizer.errors import OptimizerError
from optimizer.names import CONSOLE_API_PATH

router = APIRouter()

MAX_REQUEST_CHARACTERS = 100_000
_PAGE = "/clients/{entity_code}/inspect"


class InspectRequest(BaseModel):
    """A request to price.

    request: an OpenRTB bid request, or `{"macros": {...}, "auction_id": "..."}`, as JSON text.
    at: the split that was live at this time prices; without a zone in UTC; null: now.
    """

    request: Annotated[str, Field(max_length=MAX_REQUEST_CHARACTERS)]
    at: datetime | None = None


@router.post(f"{CONSOLE_API_PATH}{_PAGE}")
def inspect(asked: Asked, entity_code: str, wanted: InspectRequest) -> InspectedRequest:
    """Return how each impression of a bid request is priced: run, key, every step and why. Nothing is bid."""
    require_readable(asked.visitor, entity_code)
    at = None if wanted.at is None else in_utc(wanted.at)
    return inspect_request(asked, entity_code, wanted.request, at=at)


@router.get(_PAGE, include_in_schema=False)
def show_form(request: Request, asked: Asked, entity_code: str) -> HTMLResponse:
    """Show the empty form."""
    require_readable(asked.visitor, entity_code)
    return _render(request, entity_code)


@router.post(_PAGE, include_in_schema=False)
def show_inspected(request: Request, asked: Asked, entity_code: str, form: Form) -> HTMLResponse:
    """Show how the pasted request is priced, above the form with what was pasted."""
    require_readable(asked.visitor, entity_code)
    text, at = form.get("request", "").strip(), form.get("at", "").strip()
    try:
        found = inspect_request(asked, entity_code, text, at=read_moment(at) if at else None)
    except (OptimizerError, HTTPException) as error:
        problem = str(error.detail) if isinstance(error, HTTPException) else str(error)
        return _render(request, entity_code, text=text, at=at, problem=problem, status=status_of(error))
    return _render(request, entity_code, text=text, at=at, found=found)


def _render(
    request: Request,
    entity_code: str,
    *,
    text: str = "",
    at: str = "",
    found: InspectedRequest | None = None,
    problem: str = "",
    status: int = 200,
) -> HTMLResponse:
    return render(
        request,
        "inspect",
        status=status,
        entity_code=entity_code,
        tab="Inspect a request",
        text=text,
        at=at,
        found=found,
        problem=problem,
    )
