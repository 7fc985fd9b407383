"""Pages as HTML. Text of a run is escaped; nothing is loaded from another host."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse

from optimization_tracking.dashboard import formatting
from optimization_tracking.dashboard.visitors import Visit
from optimizer.presentation.web.pages import PageSet, page_headers

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

_PAGES = PageSet(templates=FOLDER / "templates", static=STATIC, filters=formatting.FILTERS)


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Args:
        template: its name in templates/ without .html.j2.
        values: what the template shows; it fails on a name that is missing.
    """
    has_sessions = request.app.state.sessions is not None
    shown = {
        "now": datetime.now(UTC),
        "project": _project_query(values.get("visit")),
        "has_sessions": has_sessions,
    }
    page = _PAGES.render(template, base=request.scope["root_path"], **shown | values)
    return HTMLResponse(page, status_code=status, headers=page_headers(framed=not has_sessions))


def _project_query(visit: Visit | None) -> str:
    """Return the query string that keeps to the project; a caller of one project needs none."""
    if visit is None or len(visit.caller.projects) < 2:
        return ""
    return f"?{urlencode({'projectId': visit.project_id})}"
