"""The order in which a request is looked at: who asks, what it may do, how much of it is going on, its body."""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast, get_origin
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from optimization_tracking.addresses import require_utf8
from optimization_tracking.auth import SECURITY_SCHEMES, Door, authenticate, require_right
from optimization_tracking.bodies import CheckedRequest, check_body
from optimization_tracking.problem_details import MAX_FIELD_CHARACTERS, invalid

MAX_QUERY_FIELDS = 500
"""More than any request needs; FastAPI compares each with all others."""


class KeyedRoute(APIRoute):
    """A route for callers with a key or a login; FastAPI alone would read and check the body first."""

    def __init__(self, *args: Any, openapi_extra: dict[str, Any] | None = None, **options: Any) -> None:
        described = {"security": [{name: []} for name in SECURITY_SCHEMES], **(openapi_extra or {})}
        super().__init__(*args, openapi_extra=described, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the checks."""
        handle = super().get_route_handler()
        repeatable = frozenset(_lists_of(self.dependant))
        model = cast(type[BaseModel], self.body_field.field_info.annotation) if self.body_field else None

        async def handle_admitted(request: Request) -> Response:
            checked = CheckedRequest(request.scope, request.receive)
            caller = checked.state.caller = await authenticate(checked)
            require_right(caller, checked.method)
            if checked.scope["query_string"].count(b"&") >= MAX_QUERY_FIELDS:
                raise invalid("query", f"has more than {MAX_QUERY_FIELDS} fields")
            require_utf8(checked)
            if checked.scope["query_string"]:
                _require_each_once(checked, repeatable)
            door: Door = checked.app.state.door
            async with door.in_flight.take(caller.lane):
                if model is not None:
                    await check_body(checked, model, checking=door.checking, lane=caller.lane)
                return await handle(checked)

        return handle_admitted


def _lists_of(dependant: Dependant) -> Iterator[str]:
    """Yield the fields of the query that a request may have several of."""
    for parameter in dependant.query_params:
        model = parameter.field_info.annotation
        for name, info in getattr(model, "model_fields", {}).items():
            if get_origin(info.annotation) is list:
                yield info.alias or name
    for inner in dependant.dependencies:
        yield from _lists_of(inner)


def _require_each_once(request: Request, repeatable: frozenset[str]) -> None:
    """Pass where no field of the query that has one value stands twice: nobody knows which one is meant."""
    names = [name for name, _ in parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)]
    if len(set(names)) == len(names):
        return
    for name, number in Counter(names).items():
        if number > 1 and name not in repeatable:
            raise invalid(name[:MAX_FIELD_CHARACTERS] or "query", f"stands {number} times in the query; send it once")
