"""The order in which a request is looked at: who asks, what it may do, how much of it is going on, its body."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from optimization_tracking.auth import SAFE_METHODS, Door, authenticate, require_write
from optimization_tracking.bodies import CheckedRequest, check_body
from optimization_tracking.problem_details import invalid

MAX_QUERY_FIELDS = 500
"""More than any request needs; FastAPI compares each with all others."""


class KeyedRoute(APIRoute):
    """A route for callers with a key or a login; FastAPI alone would read and check the body first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the checks."""
        handle = super().get_route_handler()
        model = cast(type[BaseModel], self.body_field.field_info.annotation) if self.body_field else None

        async def handle_admitted(request: Request) -> Response:
            checked = CheckedRequest(request.scope, request.receive)
            caller = checked.state.caller = await authenticate(checked)
            if checked.method not in SAFE_METHODS:
                require_write(caller)
            if checked.scope["query_string"].count(b"&") >= MAX_QUERY_FIELDS:
                raise invalid("query", f"has more than {MAX_QUERY_FIELDS} fields")
            door: Door = checked.app.state.door
            async with door.in_flight.take(caller.lane):
                if model is not None:
                    await check_body(checked, model, checking=door.checking, lane=caller.lane)
                return await handle(checked)

        return handle_admitted
