"""One request, priced as the bidder would: which run, which key, and every step from base bid to answer."""

from datetime import datetime

from pydantic import BaseModel

from optimizer.bidder.inspection import Inspected
from optimizer.bidder.reasons import Reason
from optimizer.console.context import Context

SENTENCES: dict[Reason, str] = {
    Reason.SEGMENT: "The run has a bid for this segment.",
    Reason.FALLBACK: "The run has no bid for this segment, so its bid for unknown segments counts.",
    Reason.NO_MACRO: "The request lacks a field of the run's key, so the bid for unknown segments counts.",
    Reason.CAP: "The cap max_bid_cpm bounds the bid.",
    Reason.BLOCKED: "The run does not bid on this segment: no bid is expected to keep the margin above the floor.",
    Reason.BELOW_FLOOR: "The bid is below the floor of the request, so there is no bid.",
    Reason.TABLE_SILENT: "The bid table did not answer in time.",
    Reason.TABLE_LOST: "The bid table lost the key.",
    Reason.NOT_SERVED: "Nothing of this client was loaded.",
    Reason.CURRENCY: "The floor or the auction is in a currency without an exchange rate, so there is no bid.",
    Reason.PRIVATE: "The auction takes bids on its deals alone, and the client has none of them, so there is no bid.",
    Reason.AUCTION_TYPE: "The auction is first-price, and the run bids for second-price auctions, so there is no bid.",
    Reason.SEAT: "The auction takes bids of other seats alone, so there is no bid.",
    Reason.PRIVACY: "The privacy policy says not to bid on a request with such a privacy signal.",
    Reason.NO_TIME: "The exchange does not wait as long as an answer takes, so there is no bid.",
    Reason.BAD_IMPRESSION: "The impression has no id of its own, or a floor that is not an amount, so there is no bid.",
}


class PricingStep(BaseModel):
    """A step of the price: its name, the factor or bound, and the bid after it, CPM."""

    name: str
    value: float | None
    bid_cpm: float | None
    note: str = ""


class InspectedImpression(BaseModel):
    """An impression: whether and what is bid, by which run, and why.

    macros: the values of the run's key; a macro that the request does not name is None.
    """

    impression_id: str
    bid_cpm: float | None
    reason: str
    sentence: str
    run_id: str | None
    traffic_pct: int | None
    segment_key: str | None
    macros: dict[str, str | None]
    floor_cpm: float | None
    steps: list[PricingStep]


class InspectedRequest(BaseModel):
    """The impressions of a request, priced by the split that was live at a time."""

    at: datetime
    impressions: list[InspectedImpression]


def inspect_request(asked: Context, entity_code: str, body: str, *, at: datetime | None) -> InspectedRequest:
    """Return how each impression of the request is priced.

    Args:
        at: the split of this time, in UTC, prices; None: now.

    Raises:
        RequestError: the request cannot be read; says where.
        DeploymentError, ArtifactError, UnavailableError: as `Inspector.inspect`.
    """
    moment = at or asked.now
    found = asked.inspector.inspect(body.encode(), entity_code=entity_code, at=moment)
    return InspectedRequest(at=moment, impressions=[_impression(one) for one in found])


def _impression(one: Inspected) -> InspectedImpression:
    price = one.price
    return InspectedImpression(
        impression_id=one.impression_id,
        bid_cpm=price.bid_cpm,
        reason=str(price.reason),
        sentence=SENTENCES[price.reason],
        run_id=price.run_id,
        traffic_pct=one.traffic_pct,
        segment_key=price.segment_key,
        macros=dict(one.macros),
        floor_cpm=price.floor_cpm,
        steps=_steps(one),
    )


def _steps(one: Inspected) -> list[PricingStep]:
    price, wanted, cap = one.price, one.wanted_bid_cpm, one.max_bid_cpm
    if wanted is None or cap is None or price.base_bid_cpm is None:
        return []
    base, by_domain = price.base_bid_cpm, price.domain_multiplier or 1.0
    capped = min(wanted, cap)
    steps = [
        PricingStep(name="Base bid", value=base, bid_cpm=base, note=_base_note(price.reason)),
        PricingStep(name="Domain multiplier", value=by_domain, bid_cpm=base * by_domain, note=_note(by_domain)),
        PricingStep(
            name="NPI multiplier", value=price.npi_multiplier, bid_cpm=wanted, note=_note(price.npi_multiplier)
        ),
        PricingStep(name="Cap", value=cap, bid_cpm=capped, note="bounds the bid" if wanted > cap else "not reached"),
    ]
    if price.floor_cpm is not None:
        is_below = price.reason is Reason.BELOW_FLOOR
        note = "the bid is below it: no bid" if is_below else "cleared"
        steps.append(PricingStep(name="Floor", value=price.floor_cpm, bid_cpm=None if is_below else capped, note=note))
    return steps


def _base_note(reason: Reason) -> str:
    return "for unknown segments" if reason in (Reason.FALLBACK, Reason.NO_MACRO) else ""


def _note(multiplier: float | None) -> str:
    return "none known, so 1" if multiplier == 1 else ""
