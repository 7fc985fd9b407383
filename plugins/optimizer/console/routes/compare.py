"""Compare: two runs of a client."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from optimizer.console.access import require_readable
from optimizer.console.answers.compare import CompareAnswer, choose_pair, compare
from optimizer.console.context import Asked
from optimizer.console.failures import status_of
from optimizer.console.rendering import render
from optimizer.errors import OptimizerError
from optimizer.names import CONSOLE_API_PATH

router = APIRouter()

RunId = Annotated[str, Query(max_length=64, description="A run_id; by default the live run, and the newest one.")]
Page = Annotated[int, Query(ge=1, le=100_000, description="Of the changed segments; counts from 1.")]

_TOO_FEW = (
    "there are not two runs to compare: a comparison needs two runs that completed, or dry runs with results, whose "
    "files are kept"
)


@router.get(f"{CONSOLE_API_PATH}/clients/{{entity_code}}/compare")
def get_comparison(
    asked: Asked, entity_code: str, earlier: RunId = "", later: RunId = "", page: Page = 1
) -> CompareAnswer:
    """Return what changed from one run of a client to another, and which is better."""
    code = require_readable(asked.visitor, entity_code)
    pair = choose_pair(asked, code, earlier=earlier, later=later)
    if pair.earlier is None or pair.later is None:
        raise HTTPException(404, f"client {code}: {_TOO_FEW}")
    return compare(asked, code, earlier=pair.earlier, later=pair.later, page=page)


@router.get("/clients/{entity_code}/compare", include_in_schema=False)
def show_comparison(
    request: Request, asked: Asked, entity_code: str, earlier: RunId = "", later: RunId = "", page: Page = 1
) -> HTMLResponse:
    """Show what changed from one run to another."""
    code = require_readable(asked.visitor, entity_code)
    pair = choose_pair(asked, code, earlier=earlier, later=later)
    frame: dict[str, Any] = {"entity_code": code, "tab": "Compare", "pair": pair, "found": None, "problem": None}
    if pair.earlier is None or pair.later is None:
        return render(request, "compare", **frame)
    try:
        frame["found"] = compare(asked, code, earlier=pair.earlier, later=pair.later, page=page)
    except OptimizerError as error:
        return render(request, "compare", status=status_of(error), **frame | {"problem": str(error)})
    return render(request, "compare", **frame)
