"""What bid requests have that OpenRTB does not: read anyway, and counted by kind."""

from enum import StrEnum
from typing import NamedTuple


class Oddity(StrEnum):
    """A kind of deviation from OpenRTB, in how a field is written or in what it says."""

    BYTE_ORDER_MARK = "byte_order_mark"  # the body begins with one
    LOOSE_JSON = "loose_json"  # NaN, numbers without end, broken UTF-8 or half surrogates
    NULL = "null"  # null instead of leaving the field out
    EMPTY = "empty"  # "", [] or {} where a value or another type belongs
    NUMBER_AS_TEXT = "number_as_text"  # "2.5", also of a flag
    FLAG_AS_NUMBER = "flag_as_number"  # 1.0 or true instead of 1
    ID_AS_NUMBER = "id_as_number"
    TEXT_AS_LIST = "text_as_list"  # cur: "USD"
    LETTER_CASE = "letter_case"  # a currency as usd
    WRONG_TYPE = "wrong_type"  # ignored
    OUT_OF_RANGE = "out_of_range"  # ignored
    IMPRESSION_TYPE = "impression_type"  # not an object: no bid on it
    IMPRESSION_ID = "impression_id"  # none that an answer can repeat: no bid on it
    IMPRESSION_TWIN = "impression_twin"  # impressions with the same id: no bid on any of them
    IMPRESSION_FLOOR = "impression_floor"  # not an amount: no bid on it
    IMPRESSION_COUNT = "impression_count"  # more than the bidder prices: no bid on the rest
    SHARED_ID = "shared_id"  # an id of no user, or of many: ignored
    WRONG_NPI = "wrong_npi"  # not ten digits with the right check digit: ignored


Oddities = list[Oddity]
"""Of one request, in the order in which they were met."""


class Unmapped(NamedTuple):
    """A value that the macro's table does not know."""

    macro: str
    value: str


class Notes(NamedTuple):
    """What is noted while a request is read, to be counted."""

    oddities: Oddities
    unmapped: list[Unmapped]
