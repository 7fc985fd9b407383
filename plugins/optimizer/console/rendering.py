"""Pages as HTML. Text of users and runs is escaped; nothing is loaded from another host."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse

from optimizer.console.formatting import FILTERS
from optimizer.names import DAG_PREFIX, DASHBOARD_PATH, TRACKING_PREFIX
from optimizer.presentation.web.pages import PageSet, page_headers

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
RETRY_AFTER_S = 10

_PAGES = PageSet(templates=FOLDER / "templates", static=STATIC, filters=FILTERS)


def client_address(request: Request, entity_code: str) -> str:
    """Return the address of a client's overview on this server."""
    return f"{request.scope['root_path']}/clients/{quote(entity_code, safe='')}"


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Args:
        template: its name in templates/ without .html.j2.
        values: what the template shows; a name that is missing raises.
    """
    base = request.scope["root_path"]
    shown = {
        "airflow": base.removesuffix(request.app.state.mounted_at),
        "dag_prefix": DAG_PREFIX,
        "tracking": TRACKING_PREFIX + DASHBOARD_PATH,
        "here": template,
        "now": request.app.state.clock(),
    }
    page = _PAGES.render(template, base=base, **shown | values)
    headers = page_headers(framed=True, has_requests=True) | retry_headers(status)
    return HTMLResponse(page, status_code=status, headers=headers)


def retry_headers(status: int) -> dict[str, str]:
    """Return the header that says when to ask again, of an answer that a system is away."""
    return {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
