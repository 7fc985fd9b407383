"""Clients: the fleet."""

from typing import Annotated, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from optimizer.console.answers.clients import PAGE_ROWS, Clients, read_clients
from optimizer.console.context import Asked
from optimizer.console.rendering import render
from optimizer.core.live.readiness import Word
from optimizer.names import CONSOLE_API_PATH

router = APIRouter()

State = Annotated[Word | None, Query(description="Only clients in this state.")]
Search = Annotated[str, Query(max_length=100, description="Only clients whose code contains this text.")]
Page = Annotated[int, Query(ge=1, le=100_000, description="Counts from 1.")]


@router.get(f"{CONSOLE_API_PATH}/clients")
def list_clients(asked: Asked, state: State = None, search: Search = "", page: Page = 1) -> Clients:
    """Return the clients, those that need attention first."""
    return read_clients(asked, state=state, search=search, page=page)


@router.get("/", include_in_schema=False)
def show_clients(request: Request, asked: Asked, state: str = "", search: Search = "", page: Page = 1) -> HTMLResponse:
    """Show the clients."""
    known = next((word for word in get_args(Word) if word == state), None)
    found = read_clients(asked, state=known, search=search, page=page)
    return render(
        request,
        "clients",
        clients=found,
        state=known or "",
        search=search,
        pages=max(1, -(-found.total // PAGE_ROWS)),
    )
