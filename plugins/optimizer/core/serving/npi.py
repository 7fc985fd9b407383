"""National Provider Identifiers (NPI): ten digits of which the last checks the others.

Source: CMS, "Requirements for National Provider Identifier (NPI) and NPI Check Digit": Luhn's formula over the digits
behind the prefix 80840 of health identifiers of the USA.
"""

from functools import lru_cache

DIGITS = 10

_MOST_LETTERS = 100
"""A longer text is not an NPI, however many spaces are in it."""

_PREFIX_SUM = 24
"""What the prefix 80840 adds to the sum of Luhn's formula."""

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
"""Sum of the digits of twice the digit."""


def npi_check_digit(base: str) -> int:
    """Return the check digit of the nine digits before it."""
    digits = [int(digit) for digit in base]
    total = _PREFIX_SUM + sum(_DOUBLED[digit] for digit in digits[0::2]) + sum(digits[1::2])
    return -total % 10


def parse_npi(value: object) -> str | None:
    """Return the ten digits of an NPI given as text or number, or None where it is not one.

    Spaces and hyphens do not matter; the check digit must be right.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, int) and not 0 <= value < 10**DIGITS:
        return None
    text = str(value)
    return _parse(text) if len(text) <= _MOST_LETTERS else None


@lru_cache(maxsize=65_536)  # the bidder meets the same professionals again and again
def _parse(text: str) -> str | None:
    text = "".join(text.split()).replace("-", "")
    if len(text) != DIGITS or not (text.isascii() and text.isdecimal()):
        return None
    return text if int(text[-1]) == npi_check_digit(text[:-1]) else None
