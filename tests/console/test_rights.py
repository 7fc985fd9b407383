"""Every route of the console, found from the app itself: who may not come in, who may not read, who may not write."""

import re
from typing import NamedTuple
from urllib.parse import urljoin

import pytest
from console.conftest import Console
from fastapi.routing import APIRoute
from pipeline.driver import ENTITY

from optimizer.console.app import create_app
from optimizer.names import CONSOLE_API_PATH

WITHOUT_CLIENT = {"/", "/api/clients"}
"""Routes of all clients: they show those that the user may read."""

PARTS = {"entity_code": ENTITY, "dag_id": f"optimize__{ENTITY}", "dag_run_id": "first", "name": "manifest.json"}


class Asked(NamedTuple):
    """A route with its method, an address of the client, and the parameters of the address that it names."""

    method: str
    path: str
    address: str
    parameters: frozenset[str]


def routes(run_id: str) -> list[Asked]:
    """Return every route of pages and of the API, at addresses of the client and its run."""
    app = create_app(connect=lambda: None, login=None, scheduler=None)
    return [
        Asked(
            method,
            route.path,
            route.path_format.format(**PARTS, run_id=run_id),
            frozenset(parameter.alias for parameter in route.dependant.query_params),
        )
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods - {"HEAD", "OPTIONS"})
    ]


def ask(console: Console, asked: Asked, user: str | None, **headers: str) -> int:
    """Return the status; a write has a body that no route takes, so none changes anything. `key` names a segment."""
    body = {"json": {}} if "/api/" in asked.path else {"data": {"nothing": "1"}}
    if asked.method == "GET":
        body = {"params": {"key": "x"}}
    with console.http(user) as http:
        return http.request(asked.method, asked.address, headers=headers, **body).status_code


@pytest.fixture(scope="module")
def every(console) -> list[Asked]:
    found = routes(console.business.first.run_id)
    assert len(found) > 50 and {asked.method for asked in found} >= {"GET", "POST", "PATCH"}
    return found


def test_without_a_login_no_route_answers(console, every):
    assert {asked.path: ask(console, asked, None) for asked in every} == {asked.path: 401 for asked in every}


def test_a_client_that_a_user_may_not_read_does_not_exist_on_any_route(console, every):
    of_client = [asked for asked in every if asked.path not in WITHOUT_CLIENT]
    for user in ("stranger", "other"):
        found = {asked.path: ask(console, asked, user) for asked in of_client}
        # A body that cannot be read may be refused before the client is looked for.
        assert {path: status for path, status in found.items() if status not in (404, 422)} == {}
    reads = [asked for asked in of_client if asked.method == "GET"]
    assert {asked.path: ask(console, asked, "other") for asked in reads} == {asked.path: 404 for asked in reads}


def test_no_write_comes_from_another_sites_page(console, every):
    writes = [asked for asked in every if asked.method != "GET"]
    found = {asked.path: ask(console, asked, "anna", Origin="https://elsewhere.example") for asked in writes}
    assert found == {asked.path: 403 for asked in writes}


def test_the_api_is_documented_by_files_of_this_server_alone(console):
    with console.http(None) as http:
        page = http.get(f"{CONSOLE_API_PATH}/docs")
        assert page.status_code == 200 and "unsafe" not in page.headers["content-security-policy"]
        described = re.search(r'data-description="([^"]+)"', page.text)[1]
        links = [described, *re.findall(r'(?:src|href)="([^"]+)"', page.text)]
        assert len(links) == 8 and all(link.startswith("/") for link in links)
        assert {http.get(urljoin(str(page.url), link)).status_code for link in links} == {200}
