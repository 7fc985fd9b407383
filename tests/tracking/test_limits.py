"""What one client can take from the others: connections, time, memory, the processor, the database."""

import json
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest
from servers.http import open_client
from servers.tracking import ProjectClient, Tracking, serving
from servers.waiting import wait_until

from optimization_tracking.admission import MAX_QUERY_FIELDS
from optimization_tracking.app import create_app
from optimization_tracking.auth import MAX_IN_FLIGHT, WRONG_KEYS_BURST
from optimization_tracking.bodies import MAX_BODY_BYTES
from optimization_tracking.connections import connect
from optimization_tracking.keys import new_key
from optimization_tracking.listening import MAX_HEADER_BYTES, MAX_PIPELINED
from optimizer.names import TRACKING_PREFIX

RUN = {"runName": "r", "optimizerType": "rtb"}
POST_RUN = f"POST {TRACKING_PREFIX}/runs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


@contextmanager
def service(tracking: Tracking, *, pool_size: int = 8, **limits) -> Iterator[httpx.Client]:
    """A service of its own on the session's database, with its own limits."""
    app = create_app(database_url=tracking.database_url, prefix=TRACKING_PREFIX, refresh_s=None, pool_size=pool_size)
    with serving(app, **limits) as address, open_client(address + TRACKING_PREFIX) as http:
        yield http


def dial(http: httpx.Client, sent: str = "") -> socket.socket:
    address = urlsplit(str(http.base_url))
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    connection.sendall(sent.encode())
    return connection


def answer_of(connection: socket.socket) -> str:
    """Return the status line that a connection gets."""
    return connection.recv(4096).decode().partition("\r\n")[0]


def test_idle_connections_beyond_the_limit_leave_room_for_those_that_ask(tracking: Tracking):
    with service(tracking, max_connections=20) as http, ExitStack() as idle:
        for _ in range(100):
            idle.enter_context(dial(http))
        for _ in range(5):
            with dial(http, f"GET {TRACKING_PREFIX}/health HTTP/1.1\r\nHost: here\r\n\r\n") as connection:
                assert answer_of(connection) == "HTTP/1.1 200 OK"


def test_a_body_under_way_outlives_idle_connections(tracking: Tracking):
    body = json.dumps(RUN)
    headers = f"X-API-Key: {tracking.keys['shop']}\r\nContent-Length: {len(body)}\r\n\r\n"
    with service(tracking, max_connections=10) as http, ExitStack() as idle:
        writer = idle.enter_context(dial(http, POST_RUN + headers + body[:10]))
        for _ in range(30):
            idle.enter_context(dial(http))
        assert http.get("/health").status_code == 200
        writer.sendall(body[10:].encode())
        assert answer_of(writer) == "HTTP/1.1 201 Created"


@pytest.mark.parametrize("sent", ["", "GET /health HT", POST_RUN], ids=["nothing", "half a line", "half the headers"])
def test_headers_that_do_not_arrive_in_time_end_the_connection(tracking: Tracking, sent):
    with service(tracking, header_timeout_s=0.2) as http, dial(http, sent) as connection:
        assert answer_of(connection) == "HTTP/1.1 408 Request Timeout"
        assert connection.recv(1) == b""


def test_a_body_that_does_not_arrive_in_time_ends_the_connection(tracking: Tracking):
    headers = f"X-API-Key: {tracking.keys['shop']}\r\nContent-Length: 3000000\r\n\r\n"
    with service(tracking, body_timeout_s=0.2) as http, dial(http, POST_RUN + headers + "{") as connection:
        assert answer_of(connection) == "HTTP/1.1 408 Request Timeout"
        assert connection.recv(1) == b""


def test_requests_that_are_sent_far_ahead_of_their_answers_are_not_kept(tracking: Tracking):
    request = f"GET {TRACKING_PREFIX}/projects HTTP/1.1\r\nHost: here\r\n\r\n"
    with service(tracking) as http, dial(http, request * 2000) as connection:
        received = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert received.count("HTTP/1.1 401 Unauthorized") == MAX_PIPELINED + 1
    assert received.count("connection: close") == 1


@pytest.mark.parametrize("trailers", ["a:\r\n" * 16_000, "a: " + "b" * 64_000])
def test_what_follows_a_body_is_bounded(tracking: Tracking, trailers):
    key = f"X-API-Key: {tracking.keys['shop']}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with service(tracking) as http, dial(http, f"{POST_RUN}{key}2\r\n{{}}\r\n0\r\n") as connection:
        with suppress(ConnectionError):  # it may be closed while this is sent
            for _ in range(400):
                connection.sendall(trailers.encode())
        assert answer_of(connection) == "HTTP/1.1 413 Request Entity Too Large"


def test_headers_beyond_the_limit_are_refused_before_they_end(tracking: Tracking):
    with dial(tracking.http, f"GET {TRACKING_PREFIX}/health HTTP/1.1\r\nX-Long: ") as connection:
        for _ in range(2):
            connection.sendall(b"x" * MAX_HEADER_BYTES)
        assert answer_of(connection) == "HTTP/1.1 431 Request Header Fields Too Large"


@pytest.mark.parametrize(
    ("key", "size", "status"),
    [(None, 3_000_000, 401), ("sk_live_wrong", 3_000_000, 401), ("shop", MAX_BODY_BYTES + 1, 413)],
)
def test_a_request_without_a_key_or_too_long_is_refused_before_its_body_comes(tracking: Tracking, key, size, status):
    header = f"X-API-Key: {tracking.keys.get(key, key)}\r\n" if key else ""
    with dial(tracking.http, f"{POST_RUN}{header}Content-Length: {size}\r\n\r\n") as connection:
        assert answer_of(connection).split()[1] == str(status)


def test_the_scope_is_checked_before_the_body(tracking: Tracking, shop):
    assert ProjectClient(tracking.http, "sk_live_wrong").post("/runs", {"surprise": 1}).status_code == 401
    assert shop.post("/runs", {"surprise": 1}).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        RUN | {f"field{number}": 1 for number in range(100_000)},
        RUN | {"config": {"a": [0] * 1_000_000}},
        RUN | {"config": {f"key{number}": 0 for number in range(200_000)}},
        RUN | {"tags": [0] * 1_000_000},
    ],
    ids=["unknown fields", "long list", "large object", "tags"],
)
def test_a_body_with_very_many_errors_is_refused_with_the_first_ones(shop, body):
    answer = shop.post("/runs", body)
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 1)


@pytest.mark.parametrize("path", ["/runs", "/groups", "/compare", "/projects"])
def test_a_query_of_very_many_fields_is_refused_before_it_is_read(shop, path):
    answer = shop.request("GET", f"{path}?{'&'.join(f'a{number}' for number in range(8000))}")
    assert (answer.status_code, answer.json()["errors"]) == (
        422,
        [{"field": "query", "reason": f"has more than {MAX_QUERY_FIELDS} fields"}],
    )


def test_a_batch_is_refused_with_the_errors_of_its_first_wrong_row(shop):
    path = f"/runs/{shop.create_run()['id']}/iterations/batch"
    rows = [{"iteration": 0}, *[{"iteration": "x", "score": "y", "odd": 1}] * 999]
    answer = shop.post(path, {"iterations": rows})
    fields = {error["field"] for error in answer.json()["errors"]}
    assert answer.status_code == 422
    assert fields == {"iterations.1.iteration", "iterations.1.score", "iterations.1.odd"}


def test_samples_without_their_iteration_are_counted_and_the_first_are_named(shop):
    run = shop.create_run()
    rows = [{"iteration": 7, "sampleIndex": index} for index in range(1000)]
    refused = shop.post(f"/runs/{run['id']}/samples", {"samples": rows})
    assert refused.status_code == 422
    problem = refused.json()
    assert problem["detail"].startswith("1000 samples")
    assert [error["field"] for error in problem["errors"]] == [f"samples.{index}.iteration" for index in range(50)]


def test_a_long_body_is_checked_like_a_short_one(shop):
    path = f"/runs/{shop.create_run()['id']}/iterations/batch"
    rows = [{"iteration": number, "params": {"values": [0.5] * 100}} for number in range(1000)]
    assert shop.post(path, {"iterations": rows}).json()["created"] == 1000
    answer = shop.post(path, {"iterations": [*rows, {"iteration": "x"}][1:]})
    assert answer.json()["errors"][0]["field"] == "iterations.999.iteration"


def test_one_projects_requests_in_progress_are_limited_and_leave_the_others_alone(tracking: Tracking, search):
    headers = f"X-API-Key: {tracking.keys['shop']}\r\nContent-Length: 100\r\n\r\n"
    with service(tracking) as http, ExitStack() as slow:
        for _ in range(2 * MAX_IN_FLIGHT):  # those beyond the limit are refused
            slow.enter_context(dial(http, POST_RUN + headers))
        shop = ProjectClient(http, tracking.keys["shop"])
        wait_until(lambda: shop.get("/projects").status_code == 429, "the project's requests are not limited")
        assert int(shop.get("/projects").headers["Retry-After"]) >= 1
        assert ProjectClient(http, search.key).get("/projects").status_code == 200


def test_one_projects_requests_leave_half_of_the_databases_connections_to_the_others(tracking: Tracking, search):
    with service(tracking, pool_size=2) as http, ThreadPoolExecutor(4) as threads:
        shop = ProjectClient(http, tracking.keys["shop"])
        run = shop.create_run()
        with connect(tracking.database_url) as locking:
            locking.execute("SET ROLE optimization_service")
            locking.execute("SELECT FROM optimization_runs WHERE id = %s FOR UPDATE", [run["id"]])
            waiting = [threads.submit(shop.patch, f"/runs/{run['id']}", {"runName": "new"}) for _ in range(4)]
            assert ProjectClient(http, search.key).get("/runs").status_code == 200
            assert not any(answer.done() for answer in waiting)
            locking.rollback()
        assert {answer.result().status_code for answer in waiting} == {200}


def test_wrong_keys_are_logged_without_the_key_and_slowed_and_known_ones_go_on(tracking: Tracking, caplog):
    with service(tracking) as http, caplog.at_level(logging.WARNING):
        shop = ProjectClient(http, tracking.keys["shop"])
        assert shop.get("/projects").status_code == 200
        wrong = [new_key() for _ in range(WRONG_KEYS_BURST * 2)]
        answers = [ProjectClient(http, key).get("/projects") for key in wrong]
        assert answers[0].status_code == 401
        assert answers[-1].status_code == 429 and int(answers[-1].headers["Retry-After"]) >= 1
        assert shop.get("/projects").status_code == 200
    assert "revoked or expired came from 127.0.0.1" in caplog.text
    assert not [key for key in wrong if key in caplog.text or key.removeprefix("sk_live_")[:6] in caplog.text]


def test_an_address_that_a_proxy_passes_on_is_logged_short_and_visibly(tracking: Tracking, caplog):
    headers = {"X-Forwarded-For": b"\x9b2J" + b"a" * 5000, "X-API-Key": new_key()}
    with caplog.at_level(logging.WARNING):
        assert tracking.http.get("/runs", headers=headers).status_code == 401
    assert "came from \\u009b2Jaaa" in caplog.text and len(caplog.text) < 1000
