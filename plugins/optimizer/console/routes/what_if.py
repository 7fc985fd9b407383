"""The what-if of a client: other settings tried, run once or saved."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field

from optimizer.console.access import require_readable, require_writable
from optimizer.console.answers.what_if import WhatIfAnswer, ask_what_if, wish_of
from optimizer.console.charts import frontier_chart
from optimizer.console.context import Asked
from optimizer.console.failures import status_of
from optimizer.console.forms import Form
from optimizer.console.rendering import client_address, render
from optimizer.console.routes.settings import Key, Value
from optimizer.errors import OptimizerError, UnknownEntity
from optimizer.names import CONSOLE_API_PATH
from optimizer.runs.requests import request_run

router = APIRouter()

_PAGE = "/clients/{entity_code}/what-if"

RunId = Annotated[str | None, Query(max_length=64, description="A completed run or dry run; empty: the live run.")]


class Wish(BaseModel):
    """Settings to try.

    set: {config_key: the value as text}. run_id: a completed run or dry run; null: the live run.
    """

    set: dict[Key, Value] = Field(default_factory=dict, examples=[{"target_win_rate": "0.35"}])
    run_id: Annotated[str, Field(max_length=64)] | None = None


@router.post(f"{CONSOLE_API_PATH}{_PAGE}")
def what_if(asked: Asked, entity_code: str, wish: Wish) -> WhatIfAnswer:
    """Return what these settings would bring: now, proposed and after daily steps, with 95 % intervals."""
    return ask_what_if(asked, require_readable(asked.visitor, entity_code), dict(wish.set), run_id=wish.run_id)


@router.get(_PAGE, include_in_schema=False)
def show_what_if(request: Request, asked: Asked, entity_code: str, run_id: RunId = None) -> HTMLResponse:
    """Show the form with the answer for the settings of the address."""
    require_readable(asked.visitor, entity_code)
    wish = wish_of(dict(request.query_params))
    shown: dict[str, Any] = {
        "entity_code": entity_code,
        "tab": "What-if",
        "run_id": run_id,
        "can_write": entity_code in asked.visitor.writable([entity_code]),
        "requested": request.query_params.get("requested", ""),
    }
    try:
        found = ask_what_if(asked, entity_code, wish, run_id=run_id)
    except UnknownEntity:
        raise
    except OptimizerError as error:
        return render(
            request, "what_if", status=status_of(error), found=None, problem=str(error), chart_data=None, **shown
        )
    return render(request, "what_if", found=found, problem="", chart_data=frontier_chart(found), **shown)


@router.post(f"{_PAGE}/run", include_in_schema=False)
def run_once(request: Request, asked: Asked, entity_code: str, form: Form) -> RedirectResponse:
    """Ask for a run with these values, and show the page again."""
    require_writable(asked.visitor, entity_code)
    values = {key: value for key, value in wish_of(form).items() if value is not None}
    author = asked.author(form.get("comment", ""))
    run = request_run(asked.systems.engine, entity_code, values, author=author, now=asked.now)
    page = f"{client_address(request, entity_code)}/what-if"
    return RedirectResponse(f"{page}?requested={quote(run.run_id, safe='')}", 303)
