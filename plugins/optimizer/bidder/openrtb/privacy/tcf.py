"""Consent strings of the Transparency and Consent Framework: TCF v2 of Europe, and Canada's.

Sources: IAB Europe, "Transparency and Consent String with Global Vendor & CMP List Formats", version 2;
IAB Canada, "TCF Canada Technical Specifications", core segment.
"""

from collections.abc import Collection

from optimizer.bidder.openrtb.privacy.bits import Bits, UndecodableError

EUROPE_VERSION, CANADA_VERSION = 2, 1
_PURPOSES = 24
_EUROPE_CONSENT, _MAX_VENDOR = 152, 213
_CONSENT_REQUIRED = 1
_CANADA_EXPRESS, _CANADA_IMPLIED = 151, 175


def has_consent(text: str, *, purposes: Collection[int], vendor_id: int | None = None) -> bool:
    """Return whether a TCF v2 string has consent for all these purposes, and for the vendor where one is named.

    Legitimate interest is not consent. The publisher's restrictions count for the vendor that is named.

    Raises:
        UndecodableError: it is not a string of TCF v2.
    """
    bits = Bits.decode(text.partition(".")[0])
    if bits.read(0, 6) != EUROPE_VERSION:
        raise UndecodableError("not a string of TCF v2")
    if not _has_all(bits.read(_EUROPE_CONSENT, _PURPOSES), purposes):
        return False
    if vendor_id is None:
        return True
    is_named, at = _read_vendors(bits, _MAX_VENDOR, vendor_id)
    _, at = _read_vendors(bits, at, vendor_id)  # legitimate interest
    return is_named and not _restricted_purposes(bits, at, vendor_id) & set(purposes)


def has_canadian_consent(text: str, *, purposes: Collection[int]) -> bool:
    """Return whether a Canadian string has express or implied consent for all these purposes.

    Raises:
        UndecodableError: it is not such a string.
    """
    bits = Bits.decode(text.partition(".")[0])
    if bits.read(0, 6) != CANADA_VERSION:
        raise UndecodableError("not a string of TCF Canada v1")
    granted = bits.read(_CANADA_EXPRESS, _PURPOSES) | bits.read(_CANADA_IMPLIED, _PURPOSES)
    return _has_all(granted, purposes)


def _has_all(granted: int, purposes: Collection[int]) -> bool:
    return all(granted >> (_PURPOSES - purpose) & 1 for purpose in purposes)


def _read_vendors(bits: Bits, at: int, vendor_id: int) -> tuple[bool, int]:
    """Whether the section that begins at the bit lists the vendor, and the bit behind it."""
    highest, start = bits.read(at, 16), at + 17
    if bits.read(at + 16, 1):
        return _read_ranges(bits, start, vendor_id)
    is_named = vendor_id <= highest and bool(bits.read(start + vendor_id - 1, 1))
    return is_named, start + highest


def _read_ranges(bits: Bits, at: int, vendor_id: int) -> tuple[bool, int]:
    """Whether the ranges that begin at the bit hold the vendor, and the bit behind them."""
    entries, at, is_named = bits.read(at, 12), at + 12, False
    for _ in range(entries):
        is_range, first = bits.read(at, 1), bits.read(at + 1, 16)
        last = bits.read(at + 17, 16) if is_range else first
        is_named |= first <= vendor_id <= last
        at += 33 if is_range else 17
    return is_named, at


def _restricted_purposes(bits: Bits, at: int, vendor_id: int) -> set[int]:
    """The purposes that the publisher does not allow the vendor on the ground of consent."""
    restrictions, at, found = bits.read(at, 12), at + 12, set()
    for _ in range(restrictions):
        purpose, kind = bits.read(at, 6), bits.read(at + 6, 2)
        is_named, at = _read_ranges(bits, at + 8, vendor_id)
        if is_named and kind != _CONSENT_REQUIRED:
            found.add(purpose)
    return found
