"""The funnel: from the impressions that bidders were asked for to wins and clicks, and what to do about each loss."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import Engine

from optimizer.bidder.reasons import UNREADABLE, Reason
from optimizer.control_plane.bidder_counts import read_counts
from optimizer.control_plane.entities import read_entity_id
from optimizer.control_plane.live_records import read_days
from optimizer.control_plane.live_rows import LiveDay, LiveDaySums
from optimizer.control_plane.live_series import read_day_sums
from optimizer.control_plane.records import BidderCount

MOST_DAYS = 30


class Loss(BaseModel):
    """Impressions that were lost before a stage: why, how many, and what to do."""

    cause: str
    impressions: int
    cure: str


class Stage(BaseModel):
    """How many impressions reached a stage. share: of the first stage's; None where that is 0 or not known."""

    name: str
    impressions: int
    share: float | None
    losses: list[Loss]


class HourOfDay(BaseModel):
    """What bidders counted in an hour (its begin, UTC)."""

    hour: datetime
    asked: int
    bid: int


class Funnel(BaseModel):
    """The funnel of the UTC days [first_day, last_day].

    is_counted: whether a bidder wrote counts of these days. without_segment: bids at the run's fallback price, which
        no segment set; they are not losses.
    measured_days: on how many of them wins and clicks were measured.
    """

    first_day: date
    last_day: date
    is_counted: bool
    stages: list[Stage]
    without_segment: list[Loss]
    measured_days: int
    hours: list[HourOfDay]


_BEFORE: Sequence[tuple[str, Mapping[str, tuple[str, str]]]] = (
    ("Asked", {}),
    (
        "Readable",
        {
            UNREADABLE: (
                "not readable",
                "Ask the exchange: the request is not JSON, or lacks its id or its impressions.",
            ),
            Reason.BAD_IMPRESSION: (
                "impression without an id of its own or with a wrong floor",
                "See request_oddities_total of the bidder, and ask the exchange to correct the field.",
            ),
        },
    ),
    (
        "Open to us",
        {
            Reason.CURRENCY: (
                "another currency",
                "Give the bidder an exchange rate in OPTIMIZER_BIDDER_RATES, or set OPTIMIZER_BIDDER_CURRENCY.",
            ),
            Reason.PRIVATE: (
                "private auction",
                "The exchange takes bids on its deals alone; agree on a deal and name it in OPTIMIZER_BIDDER_DEALS.",
            ),
            Reason.AUCTION_TYPE: (
                "first-price auction, second-price run",
                "Set the client's auction_type to first_price and run it again, if the exchange holds such auctions.",
            ),
            Reason.SEAT: (
                "auction for other seats",
                "Set OPTIMIZER_BIDDER_SEAT to your seat, or ask the exchange to name it in wseat.",
            ),
            Reason.PRIVACY: (
                "withheld for privacy",
                "The privacy policy says so; see privacy_signals_total of the bidder.",
            ),
            Reason.NO_TIME: (
                "no time to answer",
                "Place the bidder nearer to the exchange, or agree on a longer tmax.",
            ),
        },
    ),
    (
        "Priced",
        {
            Reason.NOT_SERVED: ("client not loaded", "See /health of the bidder: it names what it could not load."),
            Reason.TABLE_SILENT: ("bid table silent", "See that memcached runs and answers in time."),
            Reason.TOO_OLD: (
                "bids too old",
                "See /health of the bidder: no refresh has succeeded within OPTIMIZER_BIDDER_MAX_AGE_S.",
            ),
            Reason.TABLE_LOST: ("bid table lost keys", "Give memcached more memory; the bidder loads it again."),
        },
    ),
    (
        "Worth a bid",
        {Reason.BLOCKED: ("segment not worth a bid", "Lower target_margin, or leave it: such bids would lose money.")},
    ),
    (
        "Bid, above the floor",
        {
            Reason.BELOW_FLOOR: (
                "bid below the floor",
                "Raise max_bid_cpm or lower target_margin, if the price is worth it.",
            )
        },
    ),
)
"""Stages in the order of the bidder, with the outcomes that are lost before each: cause and cure."""

_WITHOUT_SEGMENT: Mapping[str, tuple[str, str]] = {
    Reason.NO_MACRO: (
        "without a field of the run's key",
        "Map the exchange's field to the macro in openrtb.toml.",
    ),
    Reason.FALLBACK: (
        "of a segment unknown to the run",
        "Later runs learn it; if it lasts, check the spelling of values.",
    ),
}


def read_funnel(engine: Engine, entity_code: str, *, days: int, now: datetime, run_id: str | None = None) -> Funnel:
    """Return the funnel of the last whole UTC days; the hours of today do not count.

    Args:
        days: how many; 1 to MOST_DAYS.
        run_id: only of the impressions that this run priced; None: of all.

    Raises:
        ConfigError: the client is unknown.
        UnavailableError: the database is silent.
    """
    until = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = until - timedelta(days=days)
    counts = read_counts(engine, entity_code, since=since, until=until, run_id=run_id)
    measured = [
        day for day in _read_measured(engine, entity_code, since=since.date(), run_id=run_id) if day.day < until.date()
    ]
    totals = _totals(counts)
    return Funnel(
        first_day=since.date(),
        last_day=until.date() - timedelta(days=1),
        is_counted=bool(counts),
        stages=_stages(totals, measured),
        without_segment=_losses(totals, _WITHOUT_SEGMENT),
        measured_days=len(measured),
        hours=_hours(counts),
    )


def _read_measured(
    engine: Engine, entity_code: str, *, since: date, run_id: str | None
) -> Sequence[LiveDaySums | LiveDay]:
    entity_id = read_entity_id(engine, entity_code)
    if run_id is None:
        return read_day_sums(engine, [entity_id], since=since).get(entity_id, [])
    return [day for day in read_days(engine, entity_code, since=since) if day.run_id == run_id]


def _totals(counts: Iterable[BidderCount]) -> dict[str, int]:
    totals: defaultdict[str, int] = defaultdict(int)
    for count in counts:
        totals[count.outcome] += count.impressions
    return totals


def _stages(totals: Mapping[str, int], measured: Sequence[LiveDaySums | LiveDay]) -> list[Stage]:
    asked = left = sum(totals.values())
    stages = []
    for name, causes in _BEFORE:
        losses = _losses(totals, causes)
        left -= sum(loss.impressions for loss in losses)
        stages.append(Stage(name=name, impressions=left, share=_share(left, asked), losses=losses))
    for name, number in (("Won", "wins"), ("Clicked", "clicks")):
        reached = sum(getattr(day, number) for day in measured)
        stages.append(Stage(name=name, impressions=reached, share=_share(reached, asked), losses=[]))
    return stages


def _losses(totals: Mapping[str, int], causes: Mapping[str, tuple[str, str]]) -> list[Loss]:
    found = [
        Loss(cause=cause, impressions=totals.get(outcome, 0), cure=cure) for outcome, (cause, cure) in causes.items()
    ]
    return [loss for loss in found if loss.impressions > 0]


def _share(reached: int, asked: int) -> float | None:
    return reached / asked if asked else None


_BID = (Reason.SEGMENT, Reason.FALLBACK, Reason.NO_MACRO, Reason.CAP)


def _hours(counts: Iterable[BidderCount]) -> list[HourOfDay]:
    hours: dict[datetime, HourOfDay] = {}
    for count in counts:
        hour = hours.setdefault(count.counted_hour, HourOfDay(hour=count.counted_hour, asked=0, bid=0))
        hour.asked += count.impressions
        hour.bid += count.impressions if count.outcome in _BID else 0
    return list(hours.values())
