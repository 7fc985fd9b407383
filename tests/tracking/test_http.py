"""Requests that are hardly HTTP, or end in the middle: answered with a reason, and without a traceback."""

import json
import logging
import socket
from urllib.parse import urlsplit

import pytest
from servers.tracking import ProjectClient, Tracking

from optimization_tracking.listening import MAX_HEADER_BYTES
from optimizer.names import TRACKING_PREFIX

BODY = b'{"runName":"r","optimizerType":"rtb"}'


def dial(tracking: Tracking, sent: bytes) -> socket.socket:
    address = urlsplit(tracking.base_url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    connection.sendall(sent)
    return connection


def exchange(tracking: Tracking, sent: bytes) -> tuple[int, dict]:
    """Return the status and the problem of the last answer before the service closes the connection."""
    with dial(tracking, sent) as connection:
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received[received.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert b"application/problem+json" in head and b"no-store" in head, head
    return int(head.split()[1]), json.loads(body)


def request_of(
    shop: ProjectClient, *headers: str, method: str = "POST", path: str = "/runs", body: bytes = BODY
) -> bytes:
    own = (f"X-API-Key: {shop.key}", "Content-Type: application/json", *headers)
    return "\r\n".join((f"{method} {TRACKING_PREFIX}{path} HTTP/1.1", "Host: here", *own, "", "")).encode() + body


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        (["Content-Length: 37", "Content-Length: 37"], 400, "Duplicate Content-Length"),
        (["Content-Length: 37", "Transfer-Encoding: chunked"], 400, "Transfer-Encoding"),
        (["Content-Length: -1"], 400, "Content-Length"),
        (["Transfer-Encoding: gzip, chunked", "Connection: close"], 415, "Transfer-Encoding: 'gzip, chunked'"),
        (["Content-Length: 37", "Connection: Upgrade", "Upgrade: h2c"], 400, "Upgrade"),
        ([f"X-Long: {'x' * MAX_HEADER_BYTES}"], 431, "65,536 bytes"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_request_that_cannot_be_read_is_answered_with_its_reason(tracking: Tracking, shop, headers, status, said):
    body = b"1\r\n{\r\n0\r\n\r\n" if "chunked" in headers[0] else BODY
    answered, problem = exchange(tracking, request_of(shop, *headers, body=body))
    assert (answered, problem["status"]) == (status, status)
    assert said in problem["detail"]


def test_an_address_without_a_path_is_refused(tracking: Tracking):
    status, problem = exchange(tracking, b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (status, "no path" in problem["detail"]) == (400, True)


def test_what_follows_an_upgrade_is_never_read_as_a_request(tracking: Tracking, shop):
    hidden = request_of(shop, "Connection: close", method="GET", path="/projects", body=b"")
    upgrade = ("Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(hidden)}")
    with dial(tracking, request_of(shop, *upgrade, body=b"")) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert connection.recv(4096) == b""


def test_a_request_to_open_a_websocket_is_answered_like_any_other(tracking: Tracking, shop):
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eHg=")
    with dial(tracking, request_of(shop, *upgrade, method="GET", path="/health", body=b"")) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("last", [b"", b"nonsense\r\n\r\n", b"GET /half HT"], ids=["whole", "nonsense", "half"])
def test_a_client_that_leaves_before_its_answers_leaves_no_error_in_the_log(tracking: Tracking, shop, caplog, last):
    server_log = logging.getLogger("uvicorn.error")
    server_log.addHandler(caplog.handler)
    try:
        for _ in range(10):
            dial(tracking, request_of(shop, method="GET", body=b"") * 20 + last).close()
        assert shop.get("/runs", limit=1).status_code == 200
    finally:
        server_log.removeHandler(caplog.handler)
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
