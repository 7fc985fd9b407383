"""The outcomes of an impression that a bidder is asked for."""

from enum import StrEnum

UNREADABLE = "unreadable"
"""The outcome of a request that could not be read, beside the reasons of prices."""


class Reason(StrEnum):
    """Why the bid is what it is; the first four bid, the others do not."""

    __hash__ = str.__hash__  # an enum's own is a call, and every price is counted by its reason

    SEGMENT = "segment"  # the run serves the segment
    FALLBACK = "fallback"  # it does not: its bid for unknown segments
    NO_MACRO = "no_macro"  # the request does not name a macro of the run's key: again that bid
    CAP = "cap"  # max_bid_cpm bounds the product
    BLOCKED = "blocked"  # the run says not to bid on the segment
    BELOW_FLOOR = "below_floor"
    TABLE_SILENT = "table_silent"  # memcached does not answer in time
    TABLE_LOST = "table_lost"  # it answers, and lost the key
    NOT_SERVED = "not_served"  # the entity is unknown, or nothing of it is loaded
    TOO_OLD = "too_old"  # for too long no refresh confirmed that this is what is deployed
    CURRENCY = "currency"  # the floor, or the auction, is in a currency without a rate to ours
    AUCTION_TYPE = "auction_type"  # the auction is first-price, and the run's bids are for second-price auctions
    PRIVATE = "private"  # the auction takes bids on its deals alone, and none of them is ours
    SEAT = "seat"  # the auction takes bids of other seats alone
    PRIVACY = "privacy"  # the privacy policy says not to bid
    NO_TIME = "no_time"  # the exchange does not wait as long as an answer takes
    BAD_IMPRESSION = "bad_impression"  # it has no id of its own, or a floor that is not an amount
