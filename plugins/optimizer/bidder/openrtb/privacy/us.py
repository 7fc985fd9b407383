"""Opt-outs of the USA: the string us_privacy, and the sections of the national and the state laws in a GPP string.

Sources: IAB, "U.S. Privacy String", version 1; IAB Tech Lab, "Global Privacy Platform", sections US-National and
US-States.
"""

from typing import NamedTuple

from optimizer.bidder.openrtb.privacy.bits import Bits, UndecodableError

_OPTED_OUT = 1
_INVALID = 3

WITHOUT_OPT_OUT = frozenset(f"1{notice}{sale}{agreement}" for notice in "YN-" for sale in "N-" for agreement in "YN-")
"""The strings us_privacy of users who did not opt out of the sale of data."""


def is_opted_out(us_privacy: str) -> bool:
    """Return whether a string such as `1YNN` says that the user opted out of the sale of data: its third character.

    Raises:
        UndecodableError: it is not such a string.
    """
    text = us_privacy.strip().upper()
    if len(text) != 4 or text[0] != "1" or not set(text[1:]) <= {"Y", "N", "-"}:
        raise UndecodableError("not a us_privacy string of version 1")
    return text[2] == "Y"


class GppSection(NamedTuple):
    """Where a section of GPP has its opt-outs from sale, sharing and targeted advertising: two bits each.

    versions: of the section whose fields lie there. has_gpc: whether a further segment may have the Global Privacy
    Control. core: the number of the segment with the opt-outs.
    """

    opt_outs: tuple[int, ...]
    versions: tuple[int, ...] = (1,)
    has_gpc: bool = True
    core: int = 0


_STATE, _STATE_AFTER_FOUR_NOTICES, _STATE_WITH_HEADER = (12, 14), (14, 16), (16, 18)

SECTIONS = {
    7: GppSection((18, 20, 22), versions=(1, 2)),  # national
    8: GppSection(_STATE),  # California: sale and sharing
    9: GppSection(_STATE, has_gpc=False),  # Virginia
    10: GppSection(_STATE),  # Colorado
    11: GppSection(_STATE_AFTER_FOUR_NOTICES, has_gpc=False),  # Utah
    12: GppSection(_STATE),  # Connecticut
    13: GppSection(_STATE, has_gpc=False),  # Florida
    14: GppSection(_STATE),  # Montana
    15: GppSection(_STATE),  # Oregon
    16: GppSection(_STATE),  # Texas
    17: GppSection(_STATE),  # Delaware
    18: GppSection(_STATE_AFTER_FOUR_NOTICES),  # Iowa
    19: GppSection(_STATE),  # Nebraska
    20: GppSection(_STATE),  # New Hampshire
    21: GppSection(_STATE),  # New Jersey
    22: GppSection(_STATE),  # Tennessee
    23: GppSection(_STATE),  # Minnesota
    24: GppSection(_STATE_WITH_HEADER, core=1),  # Maryland
    25: GppSection(_STATE_WITH_HEADER, has_gpc=False, core=1),  # Indiana
    26: GppSection(_STATE_WITH_HEADER, has_gpc=False, core=1),  # Kentucky
    27: GppSection(_STATE_WITH_HEADER, has_gpc=False, core=1),  # Rhode Island
}
"""Section of GPP by its number."""


def is_section_opted_out(section_id: int, text: str) -> bool:
    """Return whether the section says that the user opted out of sale, sharing or targeted advertising.

    Raises:
        UndecodableError: it is not such a section, or a later version of it.
    """
    section, segments = SECTIONS[section_id], text.split(".")
    if section.core >= len(segments):
        raise UndecodableError("the core segment is missing")
    core = Bits.decode(segments[section.core])
    version = core.read(0, 6) if section.core == 0 else _version_of(Bits.decode(segments[0]), section_id)
    if version not in section.versions:
        raise UndecodableError(f"version {version} of section {section_id}")
    choices = [core.read(start, 2) for start in section.opt_outs]
    if _INVALID in choices:
        raise UndecodableError("an opt-out has the value 3")
    return _OPTED_OUT in choices or (section.has_gpc and any(map(_has_gpc, segments[section.core + 1 :])))


def _version_of(header: Bits, section_id: int) -> int:
    if header.read(0, 6) != section_id:
        raise UndecodableError(f"not the header of section {section_id}")
    return header.read(6, 6)


def _has_gpc(segment: str) -> bool:
    bits = Bits.decode(segment)
    return bits.read(0, 2) == 1 and bits.read(2, 1) == 1
