"""The HTTP server: headers, requests and connections within bounds, so that no client keeps the others out.

Behind another server, such as Airflow's api-server, that server's limits apply instead.
"""

import asyncio
import sys
import time
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from optimization_tracking.models.answers import Problem

HEADER_TIMEOUT_S = 10.0
"""A request's headers have to be here this long after the connection, or after their first byte."""
BODY_TIMEOUT_S = 60.0
"""A body has to be here this long after its headers."""
KEEP_ALIVE_S = 30
"""A connection may be idle this long between two requests."""
MAX_HEADER_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""Of a body that was refused already: so much of it is read, so that the client sees the answer. None takes more."""
MAX_PIPELINED = 8
"""Requests that one connection may send ahead of their answers; the connection closes after theirs."""
MAX_CONNECTIONS = 512
"""Beyond them, the connection that has waited longest for its client makes room for a new one."""
BACKLOG = 128
"""Size of the listen backlog; asyncio accepts this many connections at once, each with a file descriptor."""
GRACE_S = 5
"""Requests in flight are waited for this long at a stop."""


_OF_A_BODY = (b"content-length", b"transfer-encoding")
_HEADERS = (
    "content-type: application/problem+json",
    "cache-control: no-store",
    "x-content-type-options: nosniff",
    "connection: close",
)


class _TooManyAhead(Exception):
    """What a connection sends ahead from here on is not read."""


class _BadRequest(Exception):
    """A request that is refused before the application sees it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def create_server(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int,
    max_connections: int = MAX_CONNECTIONS,
    header_timeout_s: float = HEADER_TIMEOUT_S,
    body_timeout_s: float = BODY_TIMEOUT_S,
    **options: Any,
) -> uvicorn.Server:
    """Return the server of the application; `options` are uvicorn's."""
    protocol = _bounded_protocol(max_connections, header_timeout_s=header_timeout_s, body_timeout_s=body_timeout_s)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        ws="none",  # no route has WebSockets, and their protocol would escape these limits
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=max_connections + 1,  # where no connection can make room: 503
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,  # httptools has no such limit: the protocol counts
        **options,
    )
    return uvicorn.Server(config)


def _bounded_protocol(
    max_connections: int, *, header_timeout_s: float, body_timeout_s: float
) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with limits of time, of the headers' size and of connections."""

    class BoundedProtocol(AutoHTTPProtocol):  # type: ignore[valid-type,misc]  # chosen when uvicorn is imported
        connections: set["BoundedProtocol"]
        cycle: Any
        flow: Any
        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport
        arriving: asyncio.TimerHandle | None = None
        parser: Any
        pipeline: Collection[Any]
        unheard_bytes = 0
        body_bytes = 0
        """As they came: with the lengths of the chunks and what follows the last one."""
        has_headers = False
        is_cut_off = False
        """The connection has sent too many requests ahead; the last of `pipeline` is its last one."""
        waiting_since_s = 0.0
        working: Any = None
        """The request that is worked on; `cycle` is the last one that came."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            if len(self.connections) >= max_connections:
                self._make_room()
            super().connection_made(transport)
            self.waiting_since_s = time.monotonic()
            self._expect_within(header_timeout_s)

        def data_received(self, data: bytes) -> None:
            if self.is_cut_off:
                return
            before, was_answered = self.cycle, self.cycle is None or self.cycle.response_complete
            super().data_received(data)
            if self.is_cut_off:
                self._end_wait()
                return
            if self.cycle is before and was_answered:
                self._count_unheard(len(data))
                return
            self.unheard_bytes = 0
            self.waiting_since_s = time.monotonic()
            if self.cycle is not before:
                self._end_wait()
                self.body_bytes = 0
            if self.cycle.more_body and not self.cycle.response_complete:
                self.body_bytes += len(data)
                if self.body_bytes > MAX_DISCARDED_BYTES:
                    self._refuse(413, f"the body came in more than {MAX_DISCARDED_BYTES:,} bytes; send longer chunks")
                else:
                    self._expect_within(body_timeout_s)
            else:
                self._end_wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_wait()
            self._give_up_answers()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            self.has_headers = False
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            if not self.has_headers:  # else a trailer, which no route reads
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self.has_headers = True
            if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEADER_BYTES:
                raise _BadRequest(431, f"the headers are longer than {MAX_HEADER_BYTES:,} bytes; send shorter ones")
            if self.parser.should_upgrade() and any(name in _OF_A_BODY for name, _ in self.headers):
                # The parser takes what follows for another protocol: a body would be read as requests.
                raise _BadRequest(400, "Upgrade: connections are not upgraded; send a body without this header")
            if len(self.pipeline) >= MAX_PIPELINED:
                raise _TooManyAhead
            super().on_headers_complete()

        def send_400_response(self, msg: str) -> None:
            error = sys.exception()
            refused = error.__context__ if error is not None else None
            if isinstance(refused, _TooManyAhead):
                self.is_cut_off = True
                self.cycle.keep_alive = False
                return
            if not isinstance(refused, _BadRequest):
                reason = "its address has no path" if refused is not None else str(error or msg)
                refused = _BadRequest(400, f"the request is not HTTP/1.1: {reason}")
            self._give_up_answers()
            self._write(refused.status, refused.detail)
            self.transport.close()

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            self.working = cycle
            super()._start_asgi_task(cycle, app)

        def _unsupported_upgrade_warning(self) -> None:
            """Say nothing: the request is answered as any other."""

        def _give_up_answers(self) -> None:
            """Write no answer to a connection that ends: of several requests, uvicorn gives up the last one only."""
            if self.working is not None and not self.working.response_complete:
                self.working.disconnected = True
                self.working.message_event.set()

        def _count_unheard(self, size: int) -> None:
            """Count what comes before a request's headers are complete, or of a body after its answer."""
            self.unheard_bytes += size
            is_discarding = self.cycle is not None and self.cycle.more_body
            if self.unheard_bytes > (MAX_DISCARDED_BYTES if is_discarding else MAX_HEADER_BYTES):
                self._refuse(431, f"the headers are longer than {MAX_HEADER_BYTES:,} bytes; send shorter ones")
            else:
                self._expect_within(header_timeout_s)

        def _make_room(self) -> None:
            waiting = [other for other in self.connections if other.waits_for_client()]
            if waiting:
                longest = min(waiting, key=lambda other: (other.is_uploading(), other.waiting_since_s))
                self.connections.discard(longest)
                longest.transport.abort()

        def waits_for_client(self) -> bool:
            """Return whether nothing but the client can go on: it sends no request, or does not read the answer."""
            cycle = self.cycle
            return cycle is None or cycle.response_complete or cycle.more_body or self.flow.write_paused

        def is_uploading(self) -> bool:
            """Return whether a request is in progress whose body is not here."""
            return self.cycle is not None and not self.cycle.response_complete

        def _expect_within(self, seconds: float) -> None:
            if self.arriving is None:
                self.arriving = self.loop.call_later(
                    seconds, self._refuse, 408, f"the request was not here within {seconds:g} s; send it again"
                )

        def _end_wait(self) -> None:
            if self.arriving is not None:
                self.arriving.cancel()
            self.arriving = None

        def _refuse(self, status: int, detail: str) -> None:
            if self.transport.is_closing():
                return
            is_unanswered = self.cycle is None or not self.cycle.response_started
            self._give_up_answers()
            if is_unanswered or (self.cycle.response_complete and not self.cycle.more_body):
                self._write(status, detail)
            self.transport.close()

        def _write(self, status: int, detail: str) -> None:
            """Write an answer to what is not a request, past the application."""
            phrase = HTTPStatus(status).phrase
            body = Problem(title=phrase, status=status, detail=detail).model_dump_json().encode()
            lines = (f"HTTP/1.1 {status} {phrase}", *_HEADERS, f"content-length: {len(body)}", "", "")
            self.transport.write("\r\n".join(lines).encode() + body)

    return BoundedProtocol
