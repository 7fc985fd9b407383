"""`python -m lab.benchmarks.bidder.bare_server route|plain PORT`: parses the JSON of a request, answers a constant.

It has the loop and the HTTP parser of the bidder. `route` is a route of Starlette, as a small web service has; `plain`
is a bare ASGI function with the bidder's JSON parser, the least that Python can do over HTTP.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from pydantic_core import from_json, to_json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ANSWER = {"id": "x" * 390}
"""As long as a bid response with one bid."""


async def answer_route(request: Request) -> JSONResponse:
    """Answer one request."""
    await request.json()
    return JSONResponse(ANSWER)


async def answer_plain(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answer one request."""
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    from_json(body)
    answer = to_json(ANSWER)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


APPS = {
    "route": Starlette(routes=[Route("/bid/{entity_code}", answer_route, methods=["POST"])]),
    "plain": answer_plain,
}

if __name__ == "__main__":
    uvicorn.run(APPS[sys.argv[1]], port=int(sys.argv[2]), access_log=False, log_config=None, lifespan="off")
