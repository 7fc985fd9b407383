"""The HTTP endpoint: bids, prices, health and metrics.

POST /bid/{entity_code}  a bid request of OpenRTB 2.6: 200 with a bid response, or 204, no bid
POST /price              one impression as macros: 200 with the price and its parts
GET  /health             200 while the process lives: what is served, how old, what went wrong last
GET  /ready              200 where bids can be made, else 503
GET  /metrics            Prometheus
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from optimizer.bidder.bid_endpoint import PATH, BidEndpoint
from optimizer.bidder.bodies import read_body
from optimizer.bidder.macro_requests import read_price_body
from optimizer.bidder.metrics import make_registry
from optimizer.bidder.openrtb import OpenRtb
from optimizer.bidder.service import BidderService
from optimizer.bidder.worker_reports import WorkerReports
from optimizer.errors import RequestError


def create_app(
    service: BidderService, *, openrtb: OpenRtb, reports: WorkerReports | None = None, is_replacement: bool = False
) -> "BidderApp":
    """Return the application; its service is refreshed while it runs.

    Args:
        reports: of the workers that answer on the same port, this one among them; None: there are no others.
        is_replacement: take no connection before the first refresh has ended, because other workers can.
    """
    registry = service.registry if reports is None else make_registry(reports.measure_all)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with service.running(), nullcontext() if reports is None else reports.publishing():
            async with service.connected():
                if is_replacement:
                    await service.first_refresh()
                yield

    bid = BidEndpoint(service, openrtb)

    async def price(request: Request) -> Response:
        body = read_price_body(await _read_body(request))
        (priced,) = await service.fetch_and_price([body.request()], entity_code=body.entity_code)
        return JSONResponse(priced._asdict())

    async def health(_: Request) -> Response:
        workers = {} if reports is None else reports.describe_all()
        return JSONResponse({**service.health(), "exchange_rates": openrtb.exchange.status(), **workers})

    async def ready(_: Request) -> Response:
        is_ready = service.is_ready()
        answer = {"is_ready": is_ready, "from_local_copy": sorted(service.refresher.copies.served)}
        return JSONResponse(answer, status_code=200 if is_ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def refuse(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else getattr(error, "status", 400)
        service.count_refused(str(status))
        return JSONResponse({"error": getattr(error, "detail", str(error))}, status_code=status)

    routes = [
        Route(f"{PATH}{{entity_code}}", bid, methods=["POST"]),
        Route("/price", price, methods=["POST"]),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", metrics),
    ]
    handlers = {RequestError: refuse, HTTPException: refuse}
    pages = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    return BidderApp(bid, pages)


class BidderApp:
    """Answers bid requests without the pages' routing and middleware, which would take as long as the answer itself."""

    def __init__(self, bid: ASGIApp, pages: Starlette) -> None:
        self.bid, self.pages = bid, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        is_post = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(PATH)
        entity_code = scope["path"][len(PATH) :] if is_post else ""
        await (self.bid if entity_code and "/" not in entity_code else self.pages)(scope, receive, send)


async def _read_body(request: Request) -> bytes:
    return await read_body(request.receive, dict(request.scope["headers"]), request.scope["query_string"])
