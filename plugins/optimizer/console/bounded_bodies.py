"""A limit on the bytes of a request: FastAPI reads a body into memory before it asks who sends it."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1_000_000


class BoundedBodies:
    """ASGI middleware in which a longer body, announced or not, raises HTTPException 413 where it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        announced = dict(scope.get("headers", ())).get(b"content-length", b"0")
        read_bytes = 0

        async def limited_receive() -> Message:
            nonlocal read_bytes
            message = await receive()
            if message["type"] == "http.request":
                read_bytes += len(message.get("body", b""))
                if max(read_bytes, int(announced)) > MAX_BODY_BYTES:
                    raise HTTPException(413, f"the body has more than {MAX_BODY_BYTES:,} bytes; send less")
            return message

        await self._app(scope, limited_receive, send)
