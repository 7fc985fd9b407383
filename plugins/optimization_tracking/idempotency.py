"""A write that is repeated with the same Idempotency-Key happens once; the repetition gets the first answer again.

The key is in the write's own transaction: it is used up exactly where the write is there. Keys are kept for a day, but
not longer than the run that they made or wrote to: a key of a deleted run is as new.
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
        description="A repetition with the same key and body gets the first answer again.",
    ),
]


async def answer_once(
    connection: Connection,
    request: Request,
    *,
    key: str | None,
    project_id: str,
    write: Callable[[], Awaitable[BaseModel]],
    is_gone: Callable[[bytes], Awaitable[bool]],
) -> Response:
    """Return 201 with what `write` returns, or with the answer that the key got before.

    Args:
        is_gone: whether the run of an earlier answer was deleted; the key is then free for any request.

    Raises:
        Refusal: 422 where the key was used for another request.
    """
    if key is None:
        return _created((await write()).model_dump_json().encode())
    used = {"project_id": project_id, "key": key}
    digest = hashlib.sha256(b"\n".join([request.url.path.encode(), await request.body()])).digest()
    for _ in range(MAX_TRIES):
        if await fetch_one(connection, render_query("insert_idempotency_key"), {**used, "request_sha256": digest}):
            body = (await write()).model_dump_json().encode()
            await connection.execute(render_query("store_idempotent_answer"), {**used, "answer": body})
            return _created(body)
        earlier = await fetch_one(connection, render_query("read_idempotency_key"), used)
        if earlier is None:  # freed since by another transaction
            continue
        if await is_gone(bytes(earlier["answer"])):
            await connection.execute(render_query("free_idempotency_key"), {**used, "answer": earlier["answer"]})
        elif bytes(earlier["request_sha256"]) == digest:
            return _created(bytes(earlier["answer"]), replayed=True)
        else:
            break
    raise Refusal(
        422,
        "the Idempotency-Key was used for another request; take a new one",
        errors=[("Idempotency-Key", "was used for another request")],
    )


def _created(body: bytes, *, replayed: bool = False) -> Response:
    headers = {"Idempotency-Replayed": "true"} if replayed else None
    return Response(body, status_code=201, media_type="application/json", headers=headers)
