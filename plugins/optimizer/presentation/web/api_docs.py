"""The page that documents an API: Swagger UI with its files from this server, so that it works without the internet."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from optimizer.presentation.web.assets import Assets
from optimizer.presentation.web.pages import STATIC, PageSet, page_headers

TEMPLATES = Path(__file__).parent / "templates"

_PAGES = PageSet(templates=TEMPLATES, static=STATIC, filters={})


def add_api_docs(app: Starlette, *, title: str, path: str, description: str) -> None:
    """Serve the documentation of an app's API.

    Args:
        path: of the page below the app, its files are below it; e.g. /docs.
        description: path of the OpenAPI description below the app.
    """

    async def show(request: Request) -> HTMLResponse:
        mounted_at = request.scope.get("root_path", "")
        page = _PAGES.render(
            "api_docs", base=f"{mounted_at}{path}", title=title, description=f"{mounted_at}{description}"
        )
        headers = page_headers(framed=True, has_requests=True, has_data_images=True)
        return HTMLResponse(page, headers=headers)

    app.router.routes.append(Route(path, show))
    app.router.routes.append(Mount(f"{path}/static", Assets(STATIC)))
