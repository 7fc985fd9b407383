"""Bid requests of OpenRTB 2.6 as questions for a price, and prices as its bid response.

Which field stands for which macro, and how values are spelled in BIDS, is data: openrtb.toml, or a file of your own.
"""

import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from optimizer.bidder.pricing import Price, Reason
from optimizer.bidder.requests import PriceRequest
from optimizer.errors import ConfigError, RequestError

DEFAULT_FILE = Path(__file__).with_name("openrtb.toml")
MAX_IMPRESSIONS = 100
DEFAULT_CURRENCY = "USD"
"""Of floors and prices where a request names none: OpenRTB's own default."""

Paths = tuple[str, ...]
Id = Annotated[str, Field(min_length=1, max_length=1024)]


class Deals(BaseModel):
    """What of an impression's pmp decides whether a bid without a deal is taken."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    private_auction: int = Field(0, ge=0, le=1)


class Impression(BaseModel):
    """What of an impression is not looked up by path."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: Id
    pmp: Deals = Deals()
    bidfloor: float = Field(0.0, ge=0, allow_inf_nan=False)
    bidfloorcur: str = DEFAULT_CURRENCY


class BidRequest(BaseModel):
    """What of a bid request is not looked up by path."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Id
    imp: list[Impression] = Field(min_length=1, max_length=MAX_IMPRESSIONS)
    cur: list[str] = []

    @model_validator(mode="after")
    def _check_ids(self) -> "BidRequest":
        if len({impression.id for impression in self.imp}) != len(self.imp):
            raise ValueError("two impressions share an id")
        return self


class Identity(BaseModel):
    """The paths of the ids; an id in `nobody` is shared by many users and is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    npi: Paths = ()
    user_id: Paths = ()
    auction_id: Paths = ("id",)
    nobody: frozenset[str] = frozenset()


class Mapped(BaseModel):
    """The content of openrtb.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    macros: dict[str, Paths]
    identity: Identity = Identity()
    values: dict[str, dict[str, str]] = {}
    values_where: dict[str, dict[str, tuple[str, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Question:
    """One impression of a bid request: the request to price, or why no bid would be accepted at any price."""

    impression_id: str
    asked: PriceRequest | Reason


class OpenRtb:
    """Reads requests and writes responses by one mapping, in one currency."""

    def __init__(self, mapped: Mapped, *, currency: str) -> None:
        self._currency = currency
        self._paths = _split(mapped.macros)
        self._identity, self._nobody = _split(mapped.identity.model_dump(exclude={"nobody"})), mapped.identity.nobody
        self._where = {
            name: [(path.split("."), {it.casefold() for it in values}) for path, values in conditions.items()]
            for name, conditions in mapped.values_where.items()
        }
        self._values = {
            name: {spelled.casefold(): value for spelled, value in values.items()}
            for name, values in mapped.values.items()
        }

    def read(self, body: bytes) -> tuple[str, list[Question]]:
        """Return the request's id and a question for each of its impressions.

        Raises:
            RequestError: it is not a bid request; says where.
        """
        raw = parse_json(body)
        try:
            checked = BidRequest.model_validate(raw)
        except ValidationError as error:
            raise RequestError(f"not an OpenRTB bid request: {explain(error)}") from None
        is_ours = not checked.cur or self._currency in checked.cur
        pairs = zip(checked.imp, raw["imp"], strict=True)
        return checked.id, [self._question(imp, raw_imp, raw, is_ours=is_ours) for imp, raw_imp in pairs]

    def write(self, request_id: str, prices: Iterable[tuple[str, Price]]) -> dict[str, Any] | None:
        """Return the bid response, or None where no impression is bid on. A bid's ext is what it is made of."""
        bids = [
            {
                "id": f"{request_id}-{impression_id}",
                "impid": impression_id,
                "price": price.bid_cpm,
                "ext": {**price.bids_row(), "segment_key": price.segment_key, "reason": price.reason},
            }
            for impression_id, price in prices
            if price.is_bid
        ]
        return {"id": request_id, "cur": self._currency, "seatbid": [{"bid": bids}]} if bids else None

    def _question(self, imp: Impression, raw_imp: Any, raw: Any, *, is_ours: bool) -> Question:
        if imp.pmp.private_auction:
            return Question(imp.id, Reason.PRIVATE)
        if not is_ours or (imp.bidfloor > 0 and imp.bidfloorcur != self._currency):
            return Question(imp.id, Reason.CURRENCY)

        def find(paths: list[list[str]], ignored: Collection[str] = ()) -> str | None:
            return next((text for text in _texts(paths, raw_imp, raw) if text not in ignored), None)

        macros = {name: self._spell(name, find) for name in self._paths}
        ids = {name: find(paths, self._nobody) for name, paths in self._identity.items()}
        return Question(imp.id, PriceRequest(macros, floor_cpm=imp.bidfloor or None, **ids))

    def _spell(self, name: str, find: Callable[[list[list[str]]], str | None]) -> str | None:
        value = find(self._paths[name])
        spelled = self._values.get(name, {}).get(value.casefold()) if value else None
        if spelled is None:
            return value
        told = ((find([path]), allowed) for path, allowed in self._where.get(name, ()))
        return spelled if all(it is None or it.casefold() in allowed for it, allowed in told) else value


def read_mapping(file: Path | None = None) -> Mapped:
    """Return the mapping of the file, or the package's own.

    Raises:
        ConfigError: it cannot be read.
    """
    path = file or DEFAULT_FILE
    try:
        return Mapped.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error)}; compare it with {DEFAULT_FILE.name} of the package") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; correct OPTIMIZER_BIDDER_OPENRTB") from None


def parse_json(body: bytes) -> Any:
    """Return the JSON of the body.

    Raises:
        RequestError: it is none, or has numbers that are none, or is nested beyond sense.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from None


def explain(error: ValidationError) -> str:
    """Return the first problem and its place; never the value, which may be personal data."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg'].removeprefix('Value error, ')}"


def _split(paths: Mapping[str, Paths]) -> dict[str, list[list[str]]]:
    return {name: [path.split(".") for path in several] for name, several in paths.items()}


def _texts(paths: Iterable[list[str]], imp: Any, raw: Any) -> Iterator[str]:
    for first, *rest in paths:
        value = _walk(imp, rest) if first == "imp" else _walk(raw, [first, *rest])
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            yield str(value)


def _walk(value: Any, steps: Iterable[str]) -> Any:
    for step in steps:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
