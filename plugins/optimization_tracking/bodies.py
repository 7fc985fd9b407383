"""Request bodies: their size first, then their JSON, then their values. Each step ends at its first few errors."""

import json
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from optimization_tracking.lanes import Lanes
from optimization_tracking.models.batches import RowBatch
from optimization_tracking.models.values import RepeatedName, parse_json
from optimization_tracking.problem_details import Refusal, invalid

MAX_BODY_BYTES = 4 * 1024 * 1024
LONG_BODY_BYTES = 256 * 1024
"""A longer body is checked in a thread, so that other requests go on meanwhile."""


class CheckedRequest(Request):
    """A request whose body is read within its limit, and whose JSON is the route's model."""

    checked: BaseModel

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            Refusal: 413 where it is longer than MAX_BODY_BYTES, announced or not; 400 where it ends early.
        """
        if not hasattr(self, "_body"):
            self._body = await read_limited(self, max_bytes=MAX_BODY_BYTES)
        return self._body

    async def json(self) -> Any:
        """Return the model; FastAPI takes an instance as it is."""
        return self.checked


async def read_limited(request: Request, *, max_bytes: int) -> bytes:
    """Return the body of a request; errors as `CheckedRequest.body`."""
    announced = request.headers.get("Content-Length", "0")
    if not announced.isdecimal() or int(announced) > max_bytes:
        raise _too_long(max_bytes)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                raise _too_long(max_bytes)
    except ClientDisconnect:
        raise Refusal(400, "the body ended early") from None
    return b"".join(chunks)


async def check_body(request: CheckedRequest, model: type[BaseModel], *, checking: Lanes, lane: str) -> None:
    """Let the request hold its body as a model, where it has a body of JSON; FastAPI refuses the others.

    Args:
        checking: how many long bodies of a caller are checked at once.

    Raises:
        Refusal: 400 where the body is not JSON, 413 as `CheckedRequest.body`, 422 where an object has a key twice.
        RequestValidationError: a value does not match the model.
    """
    body = await request.body()
    if not body or "json" not in request.headers.get("Content-Type", "").lower():
        return
    if len(body) <= LONG_BODY_BYTES:
        request.checked = _read(body, model)
        return
    async with checking.take(lane):
        request.checked = await run_in_threadpool(_read, body, model)


def _read(body: bytes, model: type[BaseModel]) -> BaseModel:
    if issubclass(model, RowBatch) and (batch := model.read(body)) is not None:
        return batch
    try:
        return model.model_validate(read_json(body))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**problem, "loc": ("body", *problem["loc"])} for problem in problems]) from None


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        Refusal: 400 where it is not JSON in UTF-8, 422 where an object has a key twice.
    """
    try:
        return parse_json(body.decode())
    except RepeatedName as error:
        raise invalid(error.name, "stands twice in one object") from None
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 at byte {error.start}; encode it as UTF-8"
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos}"
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError:
        reason = "holds an integer of more than 4,300 digits"
    raise Refusal(400, "the body is not JSON that can be read", errors=[("body", reason)])


def _too_long(max_bytes: int) -> Refusal:
    return Refusal(413, f"the body is longer than {max_bytes:,} bytes; send smaller batches")
