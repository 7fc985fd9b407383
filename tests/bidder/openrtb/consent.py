"""Privacy strings of our own: written bit by bit, as their specifications say."""

import string
from collections.abc import Iterable, Sequence

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
PURPOSES = 24


def encode(bits: str) -> str:
    """Return the bits in letters of six bits each, zeros at the end."""
    padded = bits + "0" * (-len(bits) % 6)
    return "".join(LETTERS[int(padded[at : at + 6], 2)] for at in range(0, len(padded), 6))


def number(value: int, width: int) -> str:
    return f"{value:0{width}b}"


def flags(numbers: Iterable[int], width: int) -> str:
    """Return a bit for each number from 1 on, set for those that are named."""
    return "".join("1" if it in numbers else "0" for it in range(1, width + 1))


def fibonacci(value: int) -> str:
    """Return the number in Fibonacci coding."""
    series = [1, 2]
    while series[-1] <= value:
        series.append(series[-1] + series[-2])
    bits = ""
    for step in reversed(series[:-1] if value else []):
        bits = ("1" if step <= value else "0") + bits if bits or step <= value else bits
        value -= step if step <= value else 0
    return bits + "1"


def gpp(sections: dict[int, str]) -> str:
    """Return a GPP string of these sections, by their numbers in rising order."""
    bits, last = number(3, 6) + number(1, 6) + number(len(sections), 12), 0
    for section_id in sections:
        bits += "0" + fibonacci(section_id - last)
        last = section_id
    return "~".join([encode(bits), *sections.values()])


def tcf(
    purposes: Iterable[int] = (),
    *,
    vendors: Sequence[int] = (),
    is_range: bool = False,
    version: int = 2,
    restrictions: Sequence[tuple[int, int, tuple[int, int]]] = (),
) -> str:
    """Return a string of TCF v2 with consent for these purposes and vendors.

    Args:
        is_range: vendors are listed as ranges, not as a field of bits.
        restrictions: the publisher's: purpose, kind (0 not allowed, 1 consent, 2 legitimate interest), vendors.
    """
    head = number(version, 6) + "0" * 72 + number(31, 12) + number(7, 12) + number(1, 6) + number(4 * 64 + 13, 12)
    head += number(48, 12) + number(4, 6) + "00" + "0" * 12
    body = flags(tuple(purposes), PURPOSES) + flags((), PURPOSES) + "0" + number(4 * 64 + 13, 12)
    highest = max(vendors, default=0)
    if is_range:
        entries = "".join("0" + number(vendor, 16) for vendor in vendors)
        named = number(highest, 16) + "1" + number(len(vendors), 12) + entries
    else:
        named = number(highest, 16) + "0" + flags(vendors, highest)
    by_interest = number(3, 16) + "0" + "111"
    restricted = number(len(restrictions), 12)
    for purpose, kind, (first, last) in restrictions:
        restricted += number(purpose, 6) + number(kind, 2) + number(1, 12) + "1" + number(first, 16) + number(last, 16)
    return encode(head + body + named + by_interest + restricted)


def canada(*, express: Iterable[int] = (), implied: Iterable[int] = ()) -> str:
    """Return a section of TCF Canada with these consents."""
    head = number(1, 6) + "0" * 72 + number(31, 12) + number(7, 12) + number(1, 6) + number(4 * 64 + 13, 12)
    head += number(48, 12) + number(4, 6) + "0" + "0" * 12
    return encode(head + flags(tuple(express), PURPOSES) + flags(tuple(implied), PURPOSES) + "0" * 40)


def us(notices: int, choices: Sequence[int], *, version: int = 1, gpc: bool | None = None) -> str:
    """Return a section of the USA with that many notices, all given, and the opt-outs (1 opted out, 2 did not)."""
    core = number(version, 6) + "01" * notices + "".join(number(choice, 2) for choice in choices) + "0" * 40
    return encode(core) + ("" if gpc is None else "." + encode("01" + number(gpc, 1)))


def us_with_header(section_id: int, choices: Sequence[int], *, gpc: bool | None = None) -> str:
    """Return a section of the USA that begins with a header, as Maryland's does."""
    header = number(section_id, 6) + number(1, 6) + number(1, 12) + "0" + fibonacci(1)
    core = number(1, 6) + "0101" + "01" * 3 + "".join(number(choice, 2) for choice in choices) + "0000"
    return encode(header) + "." + encode(core) + ("" if gpc is None else "." + encode("01" + number(gpc, 1)))
