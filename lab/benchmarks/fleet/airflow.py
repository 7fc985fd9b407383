"""A stand-in of Airflow's REST API that knows a fleet's DAGs: to time a command takes no whole Airflow."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

MOST_ROWS = 100
"""Airflow's `maximum_page_limit`, as it is shipped."""


@contextmanager
def serving_dags(dag_ids: Sequence[str]) -> Iterator[str]:
    """Give the address of a server that lists the DAGs, unpaused and parsed, a page at a time."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer({"access_token": "of-the-benchmark"})

        def do_GET(self) -> None:
            if "/pools/" in self.path:
                self._answer({"slots": 1})
                return
            wanted = parse_qs(urlsplit(self.path).query)
            first, rows = int(wanted["offset"][0]), min(int(wanted["limit"][0]), MOST_ROWS)
            flags = {"is_paused": False, "is_stale": False, "has_import_errors": False}
            page = [{"dag_id": dag_id, **flags} for dag_id in dag_ids[first : first + rows]]
            self._answer({"dags": page, "total_entries": len(dag_ids)})

        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
