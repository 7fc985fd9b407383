"""An S3 server in memory that answers some requests as a test says: denials, failures and changed bytes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import boto3
from botocore.config import Config


@dataclass(frozen=True)
class Request:
    """A request: its method, path and headers, and how many came before it."""

    method: str
    path: str
    headers: Mapping[str, str]
    number: int


@dataclass(frozen=True)
class Answer:
    """An answer instead of the object's; a code makes the body that S3 sends with it."""

    status: int
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return (
            f"<Error><Code>{self.code}</Code><Message>as the test says</Message></Error>".encode() if self.code else b""
        )


@dataclass
class ScriptedS3:
    """`answer` returns None where the request is answered as usual; `change` is done to each object that arrives."""

    answer: Callable[[Request], Answer | None] = lambda request: None
    change: Callable[[bytes], bytes] = lambda content: content
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @contextmanager
    def client(self, *, attempts: int = 2) -> Iterator[Any]:
        """Serve on the loopback, and give a boto3 client that sends each request that many times at most."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test only",
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": attempts},
                connect_timeout=5,
                read_timeout=5,
                proxies={},
            ),
        )
        try:
            yield client
        finally:
            client.close()
            server.shutdown()
            server.server_close()
            thread.join(10)


def _handler(objects: ScriptedS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers), len(objects.requests))
            objects.requests.append(request)
            if (answer := objects.answer(request)) is not None:
                return self._send(answer.status, answer.body, answer.headers)
            if self.command == "PUT":
                objects.objects[self.path] = objects.change(_without_chunks(content, self.headers))
                return self._send(200, b"", {})
            if self.path not in objects.objects:
                return self._send(404, Answer(404, "NoSuchKey").body, {})
            return self._send(200, objects.objects[self.path], {})

        do_GET = do_HEAD = do_PUT = do_POST = handle_request

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


def _without_chunks(content: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the object of a body that boto3 sent in chunks with a checksum behind them."""
    if headers.get("Content-Encoding") != "aws-chunked":
        return content
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if not length:
            break
        whole, content = whole + content[:length], content[length + 2 :]
    return whole
