"""The funnel of a client."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from optimizer.bidder.funnel import MOST_DAYS, Funnel, read_funnel
from optimizer.console.access import require_readable
from optimizer.console.charts import hour_chart
from optimizer.console.context import Asked
from optimizer.console.rendering import render
from optimizer.names import CONSOLE_API_PATH

router = APIRouter()

Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="How many whole UTC days, up to yesterday.")]
RunId = Annotated[str | None, Query(max_length=64, description="Only impressions that this run priced.")]


@router.get(f"{CONSOLE_API_PATH}/clients/{{entity_code}}/funnel")
def get_funnel(asked: Asked, entity_code: str, days: Days = 1, run_id: RunId = None) -> Funnel:
    """Return how many impressions reached each stage, from asked to clicked, and why the others did not."""
    require_readable(asked.visitor, entity_code)
    return read_funnel(asked.systems.engine, entity_code, days=days, now=asked.now, run_id=run_id)


@router.get("/clients/{entity_code}/funnel", include_in_schema=False)
def show_funnel(request: Request, asked: Asked, entity_code: str, days: Days = 1) -> HTMLResponse:
    """Show the funnel."""
    require_readable(asked.visitor, entity_code)
    found = read_funnel(asked.systems.engine, entity_code, days=days, now=asked.now)
    return render(
        request,
        "funnel",
        entity_code=entity_code,
        tab="Funnel",
        found=found,
        days=days,
        choices=(1, 7, MOST_DAYS),
        chart_data=hour_chart(found.hours),
    )
