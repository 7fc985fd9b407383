"""A write that is repeated with the same Idempotency-Key happens once.

The key of a creation is on the run that it made, for as long as the run is there: a repetition, however late, gets that
run. The keys of other writes are kept for a day, each in its write's own transaction, and a repetition gets the first
answer again. A key of a deleted run is as new.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import BaseModel

from optimization_tracking.database import Connection, fetch_one
from optimization_tracking.problem_details import Refusal
from optimization_tracking.queries import render_query

KEPT = timedelta(days=1)

MAX_TRIES = 5
"""For a key that other requests free and use at the same time."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description=(
            "A repetition with the same key and body has no effect: "
            "a creation returns its run, however late, other writes their first answer for a day."
        ),
    ),
]


async def digest_of(request: Request) -> bytes:
    """Return what tells a repetition from another request with the same key."""
    return hashlib.sha256(b"\n".join([request.url.path.encode(), await request.body()])).digest()


async def answer_once(
    connection: Connection,
    request: Request,
    *,
    key: str | None,
    project_id: str,
    write: Callable[[], Awaitable[BaseModel]],
    is_gone: Callable[[], Awaitable[bool]],
) -> Response:
    """Return 201 with what `write` returns, or with the answer that the key got before.

    Args:
        is_gone: whether the run that is written to was deleted; the key is then free for any request.

    Raises:
        Refusal: 422 where the key was used for another request.
    """
    if key is None:
        return created((await write()).model_dump_json().encode())
    used = {"project_id": project_id, "key": key}
    digest = await digest_of(request)
    for _ in range(MAX_TRIES):
        if await fetch_one(connection, render_query("insert_idempotency_key"), {**used, "request_sha256": digest}):
            body = (await write()).model_dump_json().encode()
            await connection.execute(render_query("store_idempotent_answer"), {**used, "answer": body})
            return created(body)
        earlier = await fetch_one(connection, render_query("read_idempotency_key"), used)
        if earlier is None:  # freed since by another transaction
            continue
        if await is_gone():
            await connection.execute(render_query("free_idempotency_key"), {**used, "answer": earlier["answer"]})
        elif bytes(earlier["request_sha256"]) == digest:
            return created(bytes(earlier["answer"]), is_replayed=True)
        else:
            break
    raise used_otherwise()


def used_otherwise() -> Refusal:
    """What a key is answered that was used for another request."""
    return Refusal(
        422,
        "the Idempotency-Key was used for another request; take a new one",
        errors=[("Idempotency-Key", "was used for another request")],
    )


def created(body: bytes, *, is_replayed: bool = False) -> Response:
    """Return 201, and for a repetition the header that says so."""
    headers = {"Idempotency-Replayed": "true"} if is_replayed else None
    return Response(body, status_code=201, media_type="application/json", headers=headers)
