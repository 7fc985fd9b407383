"""Every route while a system is away, after its client was switched off, and for a client without any data."""

from dataclasses import replace

import boto3
import pytest
from botocore.config import Config
from console.conftest import serve_console
from console.splitting import engine_of, run_ids
from console.test_rights import routes
from pipeline.driver import ENTITY
from sqlalchemy import update

from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import tables
from optimizer.control_plane.engine import open_engine, transaction

PARAMETERS = {"key": "26447|android|Texas", "search": "texas"}
FILES = ("/report", "/files/{name}")


def reads(console):
    return [asked for asked in routes(run_ids(console)[1]) if asked.method == "GET"]


@pytest.fixture
def without_objects(own_console):
    """Return a console whose object store does not answer."""
    once = Config(retries={"max_attempts": 0}, connect_timeout=1, proxies={})
    fields = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url="http://127.0.0.1:9", config=once, **fields)
    business = own_console.business
    with serve_console(replace(business, systems=replace(business.systems, store=ObjectStore(client)))) as served:
        yield served


def test_without_the_object_store_each_page_keeps_its_frame_and_says_what_it_lacks(without_objects):
    unavailable = []
    with without_objects.http() as http:
        for asked in reads(without_objects):
            answer = http.get(asked.address, params=PARAMETERS)
            assert answer.status_code in (200, 303, 409, 503), (asked.path, answer.status_code)
            if answer.status_code == 503:
                assert "the object store" in answer.text, asked.path
                is_page = "/api/" not in asked.path and not asked.path.endswith(FILES)
                assert not is_page or f"/clients/{ENTITY}" in answer.text, asked.path
                unavailable.append(asked.path)
    assert "/clients/{entity_code}/what-if" in unavailable and "/clients/{entity_code}" not in unavailable


def test_without_the_control_plane_every_route_says_so_and_when_to_come_back(console):
    business = console.business
    engine = open_engine("mysql+pymysql://nobody@127.0.0.1:9/gone", connect_timeout_s=1)
    with (
        serve_console(replace(business, systems=replace(business.systems, engine=engine))) as served,
        served.http() as http,
    ):
        for asked in reads(served):
            if asked.path in ("/dags/{dag_id}", "/clients/{entity_code}/inspect"):
                continue  # neither asks it
            answer = http.get(asked.address, params=PARAMETERS)
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "10"), asked.path
            assert "control plane" in answer.text and "nobody" not in answer.text, asked.path
        for path in (f"/clients/{ENTITY}/inspect", f"/api/clients/{ENTITY}/inspect"):
            request = '{"id": "1", "imp": [{"id": "1"}]}'
            body = {"json": {"request": request}} if "/api/" in path else {"data": {"request": request}}
            assert http.post(path, **body).status_code == 503, path
        form = {"comment": "c", "set.target_win_rate": "0.3", "run_id": "x", "action": "pause"}
        for path in ("settings", "settings/review", "what-if/run", "split", "split/rollback", "split/canary"):
            assert http.post(f"/clients/{ENTITY}/{path}", data=form).status_code == 503, path


def test_a_client_that_was_switched_off_meanwhile_breaks_no_route(own_console):
    with transaction(engine_of(own_console)) as connection:
        is_own = tables.entities.c.entity_code == ENTITY
        connection.execute(update(tables.entities).where(is_own).values(status="I"))
    with own_console.http() as http:
        for asked in routes(run_ids(own_console)[1]):
            body = (
                {} if asked.method == "GET" else {"json": {}} if "/api/" in asked.path else {"data": {"comment": "c"}}
            )
            answer = http.request(asked.method, asked.address, params=PARAMETERS, **body)
            assert answer.status_code < 500, (asked.path, answer.text)
        form = {"set.target_win_rate": "0.35", "target_win_rate": "0.35", "comment": "c"}
        for path in ("settings", "what-if/run"):
            answer = http.post(f"/clients/{ENTITY}/{path}", data=form)
            assert answer.status_code in (404, 409, 422) and "traceback" not in answer.text.lower(), path


def test_a_client_without_any_data_has_all_its_pages(console):
    paths = [asked.path for asked in reads(console) if "{entity_code}" in asked.path]
    assert len(paths) > 12
    with console.http() as http:
        for path in paths:
            answer = http.get(path.format(entity_code="drugs_com"), params=PARAMETERS)
            assert answer.status_code in (200, 404, 409), (path, answer.status_code)
            assert "/api/" in path or path.endswith("/spend") or "drugs_com" in answer.text, path
