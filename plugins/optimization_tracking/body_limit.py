"""A limit on the bytes of a request: without one, a body of any size would be read into memory."""

from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from optimization_tracking.problem_details import Refusal, answer

MAX_BODY_BYTES = 4 * 1024 * 1024


class _TooLarge(Exception):
    pass


class BodyLimit:
    """ASGI middleware that answers 413 to a longer body, announced or not."""

    def __init__(self, app: ASGIApp, *, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        read_bytes = 0

        async def limited_receive() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._max_bytes:
                raise _TooLarge
            return message

        async def limited_send(message: Message) -> None:
            # FastAPI makes an answer of its own of the exception above.
            if read_bytes <= self._max_bytes:
                await send(message)

        with suppress(_TooLarge):
            await self._app(scope, limited_receive, limited_send)
        if read_bytes > self._max_bytes:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = Refusal(413, f"the body is longer than {self._max_bytes:,} bytes; send smaller batches")
        await answer(refusal, path=scope["path"])(scope, receive, send)
