"""The string of the Global Privacy Platform: a header that lists its sections, and the sections.

Source: IAB Tech Lab, "Global Privacy Platform String", version 1.
"""

from collections.abc import Collection

from optimizer.bidder.openrtb.privacy import tcf, us
from optimizer.bidder.openrtb.privacy.bits import Bits, UndecodableError

TCF_EUROPE, TCF_CANADA, US_PRIVACY = 2, 5, 6
"""Numbers of sections beside those of `us.SECTIONS`."""

_HEADER_TYPE, _VERSION = 3, 1
_ITEMS_AT, _ITEMS_WIDTH = 12, 12
_LARGEST_ID = 1_000


def is_restricted(text: str, *, section_ids: Collection[int], purposes: Collection[int], vendor_id: int | None) -> bool:
    """Return whether a section that applies has an opt-out, or lacks the consent for these purposes.

    Args:
        section_ids: the sections that apply (gpp_sid); where none is named, each section that is there.

    Raises:
        UndecodableError: the string, or a section that applies, is missing or cannot be decoded.
    """
    sections = read_sections(text)
    missing = set(section_ids) - sections.keys()
    if missing:
        raise UndecodableError(f"section {min(missing)} is missing")
    applying = {it: sections[it] for it in section_ids or sections}
    found = [_is_restricted(it, section, purposes, vendor_id) for it, section in applying.items()]
    return any(found)


def read_sections(text: str) -> dict[int, str]:
    """Return the sections of a GPP string by their numbers.

    Raises:
        UndecodableError: the header cannot be decoded, or lists other sections than there are.
    """
    header, *sections = text.strip().split("~")
    ids = _read_header(Bits.decode(header))
    if len(ids) != len(sections):
        raise UndecodableError(f"the header lists {len(ids)} sections and there are {len(sections)}")
    return dict(zip(ids, sections, strict=True))


def _is_restricted(section_id: int, section: str, purposes: Collection[int], vendor_id: int | None) -> bool:
    if section_id == TCF_EUROPE:
        return not tcf.has_consent(section, purposes=purposes, vendor_id=vendor_id)
    if section_id == TCF_CANADA:
        return not tcf.has_canadian_consent(section, purposes=purposes)
    if section_id == US_PRIVACY:
        return us.is_opted_out(section)
    if section_id not in us.SECTIONS:
        raise UndecodableError(f"section {section_id} is not known")
    return us.is_section_opted_out(section_id, section)


def _read_header(bits: Bits) -> list[int]:
    if bits.read(0, 6) != _HEADER_TYPE or bits.read(6, 6) != _VERSION:
        raise UndecodableError("not a GPP string of version 1")
    ids: list[int] = []
    at, last = _ITEMS_AT + _ITEMS_WIDTH, 0
    for _ in range(bits.read(_ITEMS_AT, _ITEMS_WIDTH)):
        is_group = bits.read(at, 1)
        offset, at = _read_fibonacci(bits, at + 1)
        first = last = last + offset
        if is_group:
            offset, at = _read_fibonacci(bits, at)
            last += offset
        if last > _LARGEST_ID:
            raise UndecodableError(f"section {last} is not known")
        ids += range(first, last + 1)
    return ids


def _read_fibonacci(bits: Bits, at: int) -> tuple[int, int]:
    """The number in Fibonacci coding that begins at the bit, and the bit behind it: two ones end it."""
    total, one, other, was_set = 0, 1, 2, False
    while True:
        is_set = bool(bits.read(at, 1))
        at += 1
        if is_set and was_set:
            return total, at
        total += one if is_set else 0
        one, other, was_set = other, one + other, is_set
