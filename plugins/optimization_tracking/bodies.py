"""Request bodies: their size first, then their JSON, then their values. Each step ends at its first few errors."""

import codecs
import json
import re
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from optimization_tracking.lanes import Lanes
from optimization_tracking.models.batches import RowBatch
from optimization_tracking.models.values import MAX_JSON_DEPTH, RepeatedName, parse_json
from optimization_tracking.problem_details import Refusal, invalid

MAX_BODY_BYTES = 4 * 1024 * 1024
LONG_BODY_BYTES = 256 * 1024
"""A longer body is checked in a thread, so that other requests go on meanwhile."""

_JSON = re.compile(rb"application/(?:[^\s;]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_PLAIN = {b"content-encoding": (b"", b"identity"), b"transfer-encoding": (b"", b"chunked")}
"""Headers that say how a body is packed, and what they may say."""


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
    """Let the request hold its body as a model; FastAPI refuses a request without a body.

    Args:
        checking: how many long bodies of a caller are checked at once.

    Raises:
        Refusal: 400 where the body is not JSON, 413 as `CheckedRequest.body`, 415 where it is packed or says to be
            something else, 422 where an object has a key twice.
        RequestValidationError: a value does not match the model.
    """
    body = await request.body()
    if not body:
        return
    _require_json(request)
    if len(body) <= LONG_BODY_BYTES:
        request.checked = _read(body, model)
        return
    async with checking.take(lane):
        request.checked = await run_in_threadpool(_read, body, model)


def _require_json(request: Request) -> None:
    """Pass where the headers say that the body is JSON as it stands."""
    kind = b""
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            kind = kind or value
        elif name in _PLAIN and value.strip().lower() not in _PLAIN[name]:
            title, shown = name.decode().title(), value.decode("latin-1")
            refused = f"{title}: {shown!r} is not supported; send the body as plain JSON, without compression"
            raise Refusal(415, refused, errors=[(title, "is not supported")], headers={"Accept-Encoding": "identity"})
    if not _JSON.fullmatch(kind.strip()):
        shown = repr(kind.decode("latin-1")) if kind else "missing"
        refused = f"Content-Type: {shown}; send JSON as application/json"
        raise Refusal(415, refused, errors=[("Content-Type", "must be application/json")])


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
    if body.startswith(codecs.BOM_UTF8) or b"\x00" in body[:4]:
        reason = "is UTF-16 or UTF-32, or begins with a byte order mark; encode it as UTF-8 without one"
        raise _not_json(reason)
    try:
        return parse_json(body.decode())
    except RepeatedName as error:
        raise invalid(error.name, "stands twice in one object") from None
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 at byte {error.start}; encode it as UTF-8"
    except json.JSONDecodeError as error:
        reason = f"{error.msg.removesuffix(' at')} at character {error.pos}"
    except RecursionError:
        reason = f"is nested deeper than {MAX_JSON_DEPTH} levels"
    except ValueError:
        reason = "holds an integer of more than 4,300 digits"
    raise _not_json(reason)


def _not_json(reason: str) -> Refusal:
    return Refusal(400, "the body is not JSON that can be read", errors=[("body", reason)])


def _too_long(max_bytes: int) -> Refusal:
    return Refusal(413, f"the body is longer than {max_bytes:,} bytes; send smaller batches")
