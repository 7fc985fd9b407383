"""The HTTP endpoint: bids, prices, health and metrics.

POST /bid/{entity_code}  a bid request of OpenRTB 2.6: 200 with a bid response, or 204, no bid
POST /price              one impression as macros: 200 with the price and its parts
GET  /health             200 while the process lives: what is served, how old, what went wrong last
GET  /ready              200 where bids can be made, else 503
GET  /metrics            Prometheus
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from optimizer.bidder.openrtb import OpenRtb, explain, parse_json
from optimizer.bidder.requests import PriceRequest
from optimizer.bidder.service import BidderService
from optimizer.errors import RequestError

MAX_BODY_BYTES = 256 * 1024
Text = Annotated[str, StringConstraints(max_length=4096)]
Answer = TypeVar("Answer")


class PriceBody(BaseModel):
    """The body of POST /price. Macros are named as opt_feature_macros has them: [ADX_GEO_STATE]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity_code: str = Field(max_length=100)
    macros: dict[Text, Text | Annotated[int, Field(strict=True)] | None]
    user_id: Text | None = None
    auction_id: Text | None = None
    domain: Text | None = None
    npi: Text | None = None
    floor_cpm: float | None = Field(None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_identity(self) -> "PriceBody":
        if not (self.user_id or self.auction_id):
            raise ValueError("give user_id or auction_id: it decides which run prices the request")
        return self

    def request(self) -> PriceRequest:
        """Return the impression to price."""
        fields = self.model_dump(exclude={"entity_code", "macros"})
        macros = {name: None if value is None else str(value) for name, value in self.macros.items()}
        return PriceRequest(macros, **fields)


def read_price_body(body: bytes) -> PriceBody:
    """Return the checked body of POST /price.

    Raises:
        RequestError: it cannot be used; says where and why, never with the value.
    """
    try:
        return PriceBody.model_validate(parse_json(body))
    except ValidationError as error:
        raise RequestError(f"not a price request: {explain(error)}") from None


def create_app(service: BidderService, *, openrtb: OpenRtb) -> Starlette:
    """Return the application; its service is refreshed while it runs."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with service.running():
            yield

    async def bid(request: Request) -> Response:
        entity_code = request.path_params["entity_code"]
        request_id, questions = openrtb.read(await _read_body(request))
        prices = await _off_loop(service, service.price_all, [it.asked for it in questions], entity_code=entity_code)
        response = openrtb.write(request_id, zip((it.impression_id for it in questions), prices, strict=True))
        return Response(status_code=204) if response is None else JSONResponse(response)

    async def price(request: Request) -> Response:
        body = read_price_body(await _read_body(request))
        priced = await _off_loop(service, service.price, body.request(), entity_code=body.entity_code)
        return JSONResponse(priced._asdict())

    async def health(_: Request) -> Response:
        return JSONResponse(service.health())

    async def ready(_: Request) -> Response:
        is_ready = service.is_ready()
        return JSONResponse({"is_ready": is_ready}, status_code=200 if is_ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def refuse(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        service.metrics.refused.labels(str(status)).inc()
        return JSONResponse({"error": getattr(error, "detail", str(error))}, status_code=status)

    routes = [
        Route("/bid/{entity_code}", bid, methods=["POST"]),
        Route("/price", price, methods=["POST"]),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", metrics),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={RequestError: refuse, HTTPException: refuse})


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
    return bytes(body)


async def _off_loop(service: BidderService, action: Callable[..., Answer], *args: Any, **named: Any) -> Answer:
    # A dictionary answers sooner than a thread starts; memcached must not stop the others that wait.
    return await run_in_threadpool(action, *args, **named) if service.is_remote else action(*args, **named)
