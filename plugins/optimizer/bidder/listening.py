"""The HTTP server: requests that have to arrive in time, and a stop within a bound.

A stop takes three steps. For `drain_s` everything is answered, /ready says 503, and every answer closes its connection,
so that load balancers and clients turn to others. Then no connection is taken anymore, and requests in flight have
`GRACE_S`. Then the background work has what `BidderService.running` gives it.
"""

import asyncio
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

REQUEST_TIMEOUT_S = 5.0
"""A request has to be here as a whole, headers and body, so long after its first byte."""

GRACE_S = 3
"""Requests in flight are waited for this long, in seconds, once no connection is taken anymore."""

DEFAULT_DRAIN_S = 2.0

STOP_S = 7.0
"""A process ends so long after it has drained: `GRACE_S`, what `BidderService.running` waits, and a second."""

REQUEST_TIMEOUT = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"  # no application has seen it yet
)


class BidderServer(uvicorn.Server):
    """uvicorn's server that goes on answering for a while after the signal to stop."""

    def __init__(self, config: uvicorn.Config, *, drain_s: float, on_stop: Callable[[], None]) -> None:
        """Call `on_stop` at the signal; a second signal ends the wait."""
        super().__init__(config)
        self._drain_s, self._on_stop = drain_s, on_stop
        self._signal: int | None = None
        self._drained_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; at the second signal, stop."""
        if self._signal is not None:
            super().handle_exit(sig, frame)
            return
        self._signal, self._drained_at = sig, time.monotonic() + self._drain_s
        self._on_stop()
        closing = (b"connection", b"close")
        self.config.encoded_headers = [*self.config.encoded_headers, closing]
        self.server_state.default_headers = [*self.server_state.default_headers, closing]

    async def on_tick(self, counter: int) -> bool:
        """Return whether to exit: also once the time to drain is over."""
        if self._signal is not None and not self.should_exit and time.monotonic() >= self._drained_at:
            super().handle_exit(self._signal, None)
        return await super().on_tick(counter)


def create_server(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    drain_s: float = DEFAULT_DRAIN_S,
    on_stop: Callable[[], None],
    on_timeout: Callable[[], None],
) -> BidderServer:
    """Return the server of the application.

    Args:
        on_stop: called at the signal to stop.
        on_timeout: called for each request that did not arrive in time.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_timed_protocol(on_timeout),
        timeout_graceful_shutdown=GRACE_S,
        # Nothing here asks who the client behind a proxy is, or speaks WebSocket.
        proxy_headers=False,
        server_header=False,
        ws="none",
        # A line for each request would cost more than its price, and hold ids of people.
        access_log=False,
        log_config=None,
    )
    return BidderServer(config, drain_s=drain_s, on_stop=on_stop)


def _timed_protocol(on_timeout: Callable[[], None]) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with a limit of time for each request to arrive.

    The timer starts with the connection, or with a later request that does not come in one piece.
    """

    class TimedProtocol(AutoHTTPProtocol):  # type: ignore[valid-type,misc]  # chosen when uvicorn is imported
        cycle: Any
        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport
        arriving: asyncio.TimerHandle | None = None
        has_begun = False

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._await_request()

        def data_received(self, data: bytes) -> None:
            self.has_begun = True
            before = self.cycle
            was_answered = before is not None and before.response_complete
            super().data_received(data)
            if self.cycle is None or self.cycle.more_body or (was_answered and self.cycle is before):
                self._await_request()
            elif self.arriving is not None:
                self._end_wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_wait()
            super().connection_lost(exc)

        def _await_request(self) -> None:
            if self.arriving is None:
                self.arriving = self.loop.call_later(REQUEST_TIMEOUT_S, self._give_up)

        def _end_wait(self) -> None:
            if self.arriving is not None:
                self.arriving.cancel()
            self.arriving = None

        def _give_up(self) -> None:
            if self.transport.is_closing():
                return
            if self.has_begun:
                on_timeout()
                if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                    self.transport.write(REQUEST_TIMEOUT)
            self.transport.close()

    return TimedProtocol
