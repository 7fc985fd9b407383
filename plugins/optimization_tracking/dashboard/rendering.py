"""Pages as HTML. Text of a run is escaped; nothing is loaded from another host."""

import hashlib
import tomllib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from optimization_tracking.dashboard import formatting
from optimization_tracking.dashboard.visitors import Visit

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
VENDOR = STATIC / "vendor"

_PAGES = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters.update(formatting.FILTERS)
_PAGES.globals["age"] = formatting.age


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Args:
        template: its name in templates/ without .html.j2.
        values: what the template shows; it fails on a name that is missing.
    """
    base = request.scope["root_path"]
    shown = {"base": base, "asset": lambda name: f"{base}/static/{name}?v={_version(name)}", "now": datetime.now(UTC)}
    shown["project"] = _project_query(values.get("visit"))
    shown |= {"integrity": _integrity, "has_sessions": request.app.state.sessions is not None}
    page = _PAGES.get_template(f"{template}.html.j2").render(shown | values)
    return HTMLResponse(page, status_code=status, headers=_headers(framed=request.app.state.sessions is None))


def _project_query(visit: Visit | None) -> str:
    """Return the query string that keeps to the project; a caller of one project needs none."""
    if visit is None or len(visit.caller.projects) < 2:
        return ""
    return f"?{urlencode({'projectId': visit.project_id})}"


def _headers(*, framed: bool) -> dict[str, str]:
    """Return what a page may do: load and ask nothing but its own server, which may frame it where it is Airflow's."""
    ancestors = "'self'" if framed else "'none'"
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": ancestors,
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


@cache
def _integrity(name: str) -> str:
    """Return the hash that vendor.toml has of one of its files."""
    files = tomllib.loads((VENDOR / "vendor.toml").read_text())["file"]
    return str(next(file["integrity"] for file in files if file["name"] == name))
