"""Prices as the bid response of OpenRTB 2.6, and no bid with its reason."""

from collections.abc import Iterable, Mapping
from typing import Any

from optimizer.bidder.openrtb.questions import BidRequest, Question
from optimizer.bidder.pricing import Price
from optimizer.bidder.reasons import Reason

UNKNOWN_ERROR, TECHNICAL_ERROR, INVALID_REQUEST, NO_TIME = 0, 1, 2, 15
"""OpenRTB's codes of reasons without a bid that are used here (list "No-Bid Reason Codes")."""

CONVERTED_DIGITS = 12
"""Of a price in another currency, so that a bid exactly at the floor is not a rounding error below it."""

NO_BID_CODES: Mapping[Reason, int] = {
    Reason.BAD_IMPRESSION: INVALID_REQUEST,
    Reason.NOT_SERVED: TECHNICAL_ERROR,
    Reason.TABLE_SILENT: TECHNICAL_ERROR,
    Reason.TABLE_LOST: TECHNICAL_ERROR,
    Reason.NO_TIME: NO_TIME,
}
"""Code by reason; OpenRTB has none for the other reasons, which are UNKNOWN_ERROR."""


def make_answer(
    request: BidRequest, prices: Iterable[Price], *, seat: str, states_reasons: bool
) -> dict[str, Any] | None:
    """Return the bid response, or None where there is nothing to say: no bid, and nobody asked why.

    A bid's ext has the columns of BIDS, in our currency, and how the price came about.

    Args:
        prices: one for each question of the request.
    """
    pairs = list(zip(request.questions, prices, strict=True))
    bids = [_bid(request, question, price) for question, price in pairs if price.bid_cpm is not None]
    if bids:
        seat_bid = {"seat": seat, "bid": bids} if seat else {"bid": bids}
        answer: dict[str, Any] = {"id": request.request_id, "cur": request.answered.currency, "seatbid": [seat_bid]}
    elif states_reasons or request.asks_reasons:
        code = NO_BID_CODES.get(pairs[0][1].reason, UNKNOWN_ERROR)
        answer = {"id": request.request_id, "nbr": code}
    else:
        return None
    return {**answer, "ext": {"test": 1}} if request.is_test else answer


def _bid(request: BidRequest, question: Question, price: Price) -> dict[str, Any]:
    bid_cpm, deal, factor = price.bid_cpm or 0.0, question.deal, request.answered.factor
    row = price.bids_row()
    row["privacy"], row["is_test"] = request.privacy, request.is_test
    row["segment_key"], row["reason"] = price.segment_key, price.reason.value
    bid = {
        "id": f"{request.request_id}-{question.impression_id}",
        "impid": question.impression_id,
        "price": bid_cpm if factor == 1.0 else float(f"{bid_cpm * factor:.{CONVERTED_DIGITS}g}"),
        "ext": row,
    }
    if deal is not None and bid_cpm >= deal.floor_cpm:
        bid["dealid"] = deal.deal_id
        row["floor_cpm"] = deal.floor_cpm or None
    return bid
