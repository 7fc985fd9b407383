"""POST /bid/{entity_code} as a plain ASGI application: what a framework takes for each request is more than a price.

The answer is 200 with a bid response of OpenRTB 2.6, 204 for no bid, or an error as JSON.
"""

import time
from typing import Any

from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

from optimizer.bidder.bodies import Headers, compress, read_body
from optimizer.bidder.openrtb import OpenRtb
from optimizer.bidder.reasons import Reason
from optimizer.bidder.service import BidderService
from optimizer.errors import RequestError

PATH = "/bid/"

_JSON = (b"content-type", b"application/json")
_NO_BID: Message = {"type": "http.response.start", "status": 204, "headers": []}
_NOTHING: Message = {"type": "http.response.body", "body": b""}


class BidEndpoint:
    """Answers bid requests of the entity that the path names."""

    def __init__(self, service: BidderService, openrtb: OpenRtb) -> None:
        self._service, self._openrtb = service, openrtb

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one POST."""
        entity_code = scope["path"][len(PATH) :]
        headers = dict(scope["headers"])
        status = 200
        try:
            answer = await self._answer(entity_code, headers, scope["query_string"], receive)
        except RequestError as error:
            self._service.count_refused(str(error.status))
            self._service.count_unreadable(entity_code)
            status, answer = error.status, {"error": str(error)}
        start, body = (_NO_BID, _NOTHING) if answer is None else _respond(status, answer, headers)
        await send(start)
        await send(body)

    async def _answer(
        self, entity_code: str, headers: Headers, query: bytes, receive: Receive
    ) -> dict[str, Any] | None:
        started = time.perf_counter()
        request = self._openrtb.read(await read_body(receive, headers, query))
        self._service.count_reading(request)
        is_late = self._openrtb.is_late(request, spent_ms=1000 * (time.perf_counter() - started))
        asked = [Reason.NO_TIME if is_late else question.asked for question in request.questions]
        if self._service.refresher.memcached is None:
            prices = self._service.price_all(asked, entity_code=entity_code)
        else:
            prices = await self._service.fetch_and_price(asked, entity_code=entity_code)
        return self._openrtb.write(request, prices)


def _respond(status: int, answer: dict[str, Any], headers: Headers) -> tuple[Message, Message]:
    body, encoding = compress(to_json(answer), headers.get(b"accept-encoding"))
    own = [_JSON, (b"content-length", b"%d" % len(body))]
    if encoding is not None:
        own += [(b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
    start = {"type": "http.response.start", "status": status, "headers": own}
    return start, {"type": "http.response.body", "body": body}
