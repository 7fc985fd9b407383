"""Faults of ours: logged without the error's text, which may hold the values of a row, and answered."""

import logging
import traceback
from collections.abc import Callable
from urllib.parse import quote

import psycopg
from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)


class Faults:
    """ASGI middleware that answers a fault with what `answer` makes of the request.

    Starlette's own handler would raise the error again, and the server would log its text.
    """

    def __init__(self, app: ASGIApp, *, answer: Callable[[Request], Response]) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            request = Request(scope)
            log_fault(request, error)
            if begun:
                raise RuntimeError("the answer broke off; the line above says why") from None
            await self._answer(request)(scope, receive, send)


def log_fault(request: Request, error: Exception) -> None:
    """Log what failed and where: the error's kind and its frames."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s %s failed: %s\n%s", request.method, path_of(request), kind_of(error), frames)


def path_of(request: Request) -> str:
    """Return the request's path as an address and a line of the log can hold it."""
    return quote(request.scope["path"], safe="/!$&'()*+,:;=@")


def kind_of(error: Exception) -> str:
    """Return what a log may hold of an error: its type, and of the database's the state and the constraint."""
    if not isinstance(error, psycopg.Error):
        return type(error).__name__
    parts = (type(error).__name__, error.sqlstate, error.diag.constraint_name)
    return " ".join(part for part in parts if part)
