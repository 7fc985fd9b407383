"""HTML pages from templates, with links to static files that browsers may keep, and strict response headers."""

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from optimizer.presentation.formats import visible

STATIC = Path(__file__).parent / "static"
VENDOR = STATIC / "vendor"


class PageSet:
    """The pages of one app. Values are escaped; nothing is loaded from another host.

    Args:
        templates: the folder with the .html.j2 files.
        static: the app's own static files; those of this package are served beside them.
        filters: filters of the templates by name.
    """

    def __init__(self, *, templates: Path, static: Path, filters: Mapping[str, Callable[..., Any]]) -> None:
        self._folders = (static, STATIC)
        self._environment = Environment(
            loader=FileSystemLoader(templates),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(filters)
        self._environment.globals["integrity"] = integrity

    def render(self, template: str, *, base: str, **values: Any) -> str:
        """Return a page as HTML.

        Args:
            template: its name in the folder of templates without .html.j2.
            base: the path below which the app is served; its static files are at base/static.
            values: what the template shows; a name that is missing raises.
        """

        def asset(name: str) -> str:
            return f"{base}/static/{name}?v={_version(self._file(name))}"

        return self._environment.get_template(f"{template}.html.j2").render({"base": base, "asset": asset, **values})

    def _file(self, name: str) -> Path:
        return next(folder / name for folder in self._folders if (folder / name).is_file())


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else value  # Markup is HTML of ours


def page_headers(*, framed: bool, has_requests: bool = False, has_data_images: bool = False) -> dict[str, str]:
    """Return the headers of a page: it loads from and sends to its own server only.

    Args:
        framed: whether a page of the same origin may show it in a frame, as Airflow does.
        has_requests: whether its scripts may send requests, as htmx does.
        has_data_images: whether its style sheets hold images themselves, as Swagger UI's do.
    """
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:" if has_data_images else "'self'",
        **({"connect-src": "'self'"} if has_requests else {}),
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'self'" if framed else "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


@cache
def integrity(name: str) -> str:
    """Return the hash that vendor.toml has of one of its files."""
    files = tomllib.loads((VENDOR / "vendor.toml").read_text())["file"]
    return str(next(file["integrity"] for file in files if file["name"] == name))


@cache
def _version(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
