"""A bid request as it was read: a question for each impression, and what holds for all of them."""

from dataclasses import dataclass
from typing import NamedTuple

from optimizer.bidder.openrtb.auctions import Deal
from optimizer.bidder.openrtb.money import Answered
from optimizer.bidder.openrtb.oddities import Oddity, Unmapped
from optimizer.bidder.openrtb.privacy.policy import Signal
from optimizer.bidder.reasons import Reason
from optimizer.bidder.requests import PriceRequest


class Question(NamedTuple):
    """One impression: the request to price, or why no bid is made at any price; and our deal on it."""

    impression_id: str
    asked: PriceRequest | Reason
    deal: Deal | None = None


@dataclass(slots=True)
class BidRequest:
    """A bid request.

    Attributes:
        questions: one for each impression, in order.
        answered: the currency of the answer; ours where there is no bid.
        privacy: the signals that restrict the prices, as the column of BIDS has them; None without any.
        is_test: the auction is a test, which is not paid for and not learned from.
        asks_reasons: the exchange wants to know why there is no bid.
        time_ms: how long the exchange waits; None where it does not say.
        signals: all privacy signals, also those that the policy ignores.
    """

    request_id: str
    questions: list[Question]
    answered: Answered
    privacy: str | None
    is_test: bool
    asks_reasons: bool
    time_ms: float | None
    oddities: list[Oddity]
    signals: tuple[Signal, ...]
    unmapped: list[Unmapped]
