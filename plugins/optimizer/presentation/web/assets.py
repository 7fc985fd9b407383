"""Static files of the pages, which browsers keep."""

from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles

KEPT = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
"""Headers of a static file: browsers may keep it, because its link changes with its content."""


class Assets(StaticFiles):
    """An app's own static files, and those that every app shares.

    Args:
        own: the folder of the app's own files.
    """

    def __init__(self, own: Path) -> None:
        super().__init__(directory=own, packages=[("optimizer.presentation.web", "static")])

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers.update(KEPT)
        return response
