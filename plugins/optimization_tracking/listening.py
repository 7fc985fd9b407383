"""The HTTP server: headers, requests and connections within bounds, so that no client keeps the others out.

Behind another server, such as Airflow's api-server, that server's limits apply instead.
"""

import asyncio
import time
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEADER_TIMEOUT_S = 10.0
"""A request's headers have to be here this long after the connection, or after their first byte."""
BODY_TIMEOUT_S = 60.0
"""A body has to be here this long after its headers."""
KEEP_ALIVE_S = 30
"""A connection may be idle this long between two requests."""
MAX_HEADER_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""Of a body that was refused already: so much of it is read, so that the client sees the answer."""
MAX_CONNECTIONS = 512
"""Beyond them, the connection that has waited longest for its client makes room for a new one."""
BACKLOG = 128
"""Size of the listen backlog; asyncio accepts this many connections at once, each with a file descriptor."""
GRACE_S = 5
"""Requests in flight are waited for this long at a stop."""


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
        unheard_bytes = 0
        waiting_since_s = 0.0

        def connection_made(self, transport: asyncio.Transport) -> None:
            if len(self.connections) >= max_connections:
                self._make_room()
            super().connection_made(transport)
            self.waiting_since_s = time.monotonic()
            self._expect_within(header_timeout_s)

        def data_received(self, data: bytes) -> None:
            before, was_answered = self.cycle, self.cycle is None or self.cycle.response_complete
            super().data_received(data)
            if self.cycle is before and was_answered:
                self._count_unheard(len(data))
                return
            self.unheard_bytes = 0
            self.waiting_since_s = time.monotonic()
            if self.cycle is not before:
                self._end_wait()
            if self.cycle.more_body and not self.cycle.response_complete:
                self._expect_within(body_timeout_s)
            else:
                self._end_wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_wait()
            super().connection_lost(exc)

        def _count_unheard(self, size: int) -> None:
            """Count what comes before a request's headers are complete, or of a body after its answer."""
            self.unheard_bytes += size
            is_discarding = self.cycle is not None and self.cycle.more_body
            if self.unheard_bytes > (MAX_DISCARDED_BYTES if is_discarding else MAX_HEADER_BYTES):
                self._refuse(b"431 Request Header Fields Too Large")
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
                self.arriving = self.loop.call_later(seconds, self._refuse, b"408 Request Timeout")

        def _end_wait(self) -> None:
            if self.arriving is not None:
                self.arriving.cancel()
            self.arriving = None

        def _refuse(self, status: bytes) -> None:
            if self.transport.is_closing():
                return
            is_unanswered = self.cycle is None or not self.cycle.response_started
            if is_unanswered or (self.cycle.response_complete and not self.cycle.more_body):
                self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    return BoundedProtocol
