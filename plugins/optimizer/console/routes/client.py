"""A client's overview."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from optimizer.console.access import require_readable
from optimizer.console.answers.client import Client, read_client
from optimizer.console.answers.client_spend import ClientSpend, read_spend
from optimizer.console.charts import day_charts
from optimizer.console.context import Asked
from optimizer.console.rendering import client_address, render
from optimizer.names import CONSOLE_API_PATH, DAG_PREFIX

router = APIRouter()


@router.get(f"{CONSOLE_API_PATH}/clients/{{entity_code}}")
def get_client(asked: Asked, entity_code: str) -> Client:
    """Return a client: its days, what is live, verdicts, savings and newest runs."""
    return read_client(asked, require_readable(asked.visitor, entity_code))


@router.get("/clients/{entity_code}", include_in_schema=False)
def show_client(request: Request, asked: Asked, entity_code: str) -> HTMLResponse:
    """Show a client."""
    found = read_client(asked, require_readable(asked.visitor, entity_code))
    row = found.client
    targets = {"win_rate": row.target_win_rate, "margin": row.target_margin}
    return render(
        request,
        "client",
        entity_code=entity_code,
        tab="Overview",
        row=row,
        charts=day_charts(found.days, found.marks, targets),
        found=found,
    )


@router.get(f"{CONSOLE_API_PATH}/clients/{{entity_code}}/spend")
def get_spend(asked: Asked, entity_code: str) -> ClientSpend:
    """Return the spend a day that the live run expects, by the values of each feature of its key."""
    return read_spend(asked, require_readable(asked.visitor, entity_code))


@router.get("/clients/{entity_code}/spend", include_in_schema=False)
def show_spend(request: Request, asked: Asked, entity_code: str) -> HTMLResponse:
    """Show that as a part of the overview."""
    return render(request, "client_spend", found=read_spend(asked, require_readable(asked.visitor, entity_code)))


@router.get("/dags/{dag_id}", include_in_schema=False)
def show_dag(request: Request, asked: Asked, dag_id: str) -> RedirectResponse:
    """Lead from the tab on an entity's DAG to the client; other DAGs have none."""
    if not dag_id.startswith(DAG_PREFIX):
        raise HTTPException(404, f"DAG {dag_id} belongs to no client; the clients' DAGs begin with {DAG_PREFIX}")
    entity_code = require_readable(asked.visitor, dag_id.removeprefix(DAG_PREFIX))
    return RedirectResponse(client_address(request, entity_code), 303)
