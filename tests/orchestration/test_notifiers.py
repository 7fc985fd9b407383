"""Messages over real connections: a webhook, Slack's API and a mail server, each a server of the test's own."""

import json
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from control_plane.catalog import NOW, fill_catalog
from control_plane.databases import new_control_plane
from orchestration.airflow_process import run_script

from optimizer.control_plane.alerts import Incident, record_incidents

SEND = """
import sys

from optimizer.orchestration.connections import connect_control_plane
from optimizer.orchestration.notifiers import send_due

for _ in range(int(sys.argv[1])):
    send_due("drugs_hcp", connect=connect_control_plane)
"""
MESSAGE = "entity drugs_hcp: run R <is> {{ below }} its forecast"


class _Web(BaseHTTPRequestHandler):
    """Answers each POST with what the server was set to, and keeps it."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers.get("Authorization"), json.loads(body)))
        status, answer = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""


class _Mail(socketserver.StreamRequestHandler):
    """Takes one mail after another and keeps their text."""

    server: Any

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline().strip().upper():
            if line == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(lambda: self.rfile.readline().rstrip(b"\r\n"), b".")
                self.server.received.append(b"\n".join(lines).decode())
            self.wfile.write(b"221 bye\r\n" if line == b"QUIT" else b"250 ok\r\n")
            if line == b"QUIT":
                return


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    with server:
        Thread(target=server.serve_forever, daemon=True).start()
        server.received, server.answer = [], (200, b'{"ok": true}')
        yield server
        server.shutdown()


@pytest.fixture
def web() -> Iterator[Any]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Web)) as server:
        yield server


@pytest.fixture
def control_plane(tmp_path: Path) -> str:
    """Return the path of a control plane with an open incident of drugs_hcp."""
    path = tmp_path / "control.db"
    engine = new_control_plane(path, fill_catalog)
    record_incidents(engine, 1, [Incident("below_forecast", MESSAGE, "R")], kinds=["below_forecast"], now=NOW)
    engine.dispose()
    return str(path)


def send(control_plane: str, notifiers: str, connection: dict[str, Any], *, looks: int = 1) -> str:
    """Look for messages that are due, in a process of its own, and return what it printed."""
    connections = {"OPTIMIZER_CONTROL_PLANE": {"conn_type": "sqlite", "host": control_plane}, "OPS": connection}
    environment = {f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()}
    done = run_script(SEND, str(looks), environment={**environment, "OPTIMIZER_NOTIFIERS": notifiers})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def http(server: Any, **fields: Any) -> dict[str, Any]:
    return {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_address[1]}", **fields}


def test_a_webhook_gets_the_incident_once_as_json_and_again_after_it_failed(web: Any, control_plane: str):
    web.answer = (503, b"")
    printed = send(control_plane, "webhook://ops?path=hook/secret", http(web))
    assert "cannot be sent over the connection ops" in printed and "hook/secret" not in printed
    web.answer = (204, b"")
    send(control_plane, "webhook://ops?path=hook/secret", http(web), looks=2)
    assert [path for path, _, _ in web.received] == ["/hook/secret", "/hook/secret"], "failed once, arrived once"
    document = web.received[-1][2]
    assert (document["event"], document["kind"], document["subject"]) == ("opened", "below_forecast", "R")
    assert (document["entity_code"], document["message"]) == ("drugs_hcp", MESSAGE)


def test_slack_gets_the_channel_the_text_and_the_bots_token(web: Any, control_plane: str):
    send(control_plane, "slack://ops?channel=#rtb", http(web, password="xoxb-1"))
    ((path, authorization, body),) = web.received
    assert (path, authorization, body["channel"]) == ("/chat.postMessage", "Bearer xoxb-1", "#rtb")
    assert body["text"].startswith(f"*drugs_hcp: below forecast*\n{MESSAGE}\n")


def test_a_message_that_slack_refuses_is_sent_again(web: Any, control_plane: str):
    web.answer = (200, b'{"ok": false, "error": "channel_not_found"}')
    printed = send(control_plane, "slack://ops?channel=#rtb", http(web, password="xoxb-1"), looks=2)
    assert printed.count("cannot be sent over the connection ops") == 2 and "xoxb-1" not in printed
    assert len(web.received) == 2


def test_a_mail_names_the_incident_in_its_subject(control_plane: str):
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail)) as server:
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "optimizer@example.com"}
        connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.server_address[1], "extra": extra}
        printed = send(control_plane, "smtp://ops?to=anna@example.com", connection)
        assert server.received, printed
        (mail,) = server.received
    message = message_from_string(mail)
    assert (message["Subject"], message["To"]) == ("[optimizer] drugs_hcp: below forecast", "anna@example.com")
    (body,) = (part.get_payload(decode=True) for part in message.walk() if not part.is_multipart())
    assert b"run R &lt;is&gt; {{ below }} its forecast<br>Since" in body


def test_a_wrong_setting_is_logged_and_fails_nothing(web: Any, control_plane: str):
    printed = send(control_plane, "teams://ops", http(web))
    assert "no messages were sent: OPTIMIZER_NOTIFIERS: 'teams://ops' begins with none of" in printed
