"""Which values of bid requests the mapping does not know, so that an operator sees which spelling to add."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from optimizer.bidder.openrtb.oddities import Unmapped

MAX_VALUES = 1_000
"""The number of different values of a macro that are kept apart; those that come later are counted together."""

SHOWN_VALUES, SHOWN_LETTERS = 10, 40
WITHHELD, OTHERS = "(withheld: it may be an id)", "(others)"

_ID = re.compile(r"(?:\d\D{0,2}){7}|[0-9a-f]{8}|@", re.IGNORECASE)
"""Seven digits, eight hexadecimal digits or an address: such a value may be a user's id."""


class UnmappedValues:
    """Counts values by macro, within a bound, and never keeps one that may be an id."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, values: Iterable[Unmapped]) -> None:
        """Count the values of a request."""
        for macro, value in values:
            counts, shown = self._counts[macro], _show(value)
            counts[shown if shown in counts or len(counts) < MAX_VALUES else OTHERS] += 1

    def most_common(self) -> dict[str, list[dict[str, Any]]]:
        """Return the most common values of each macro with the number of requests, as JSON's types."""
        # Copies: another thread may add meanwhile.
        found = {macro: Counter(dict(counts)) for macro, counts in dict(self._counts).items()}
        return {
            macro: [{"value": value, "requests": number} for value, number in counts.most_common(SHOWN_VALUES)]
            for macro, counts in found.items()
        }


def _show(value: str) -> str:
    """The value in printable ASCII and not too long."""
    if _ID.search(value):
        return WITHHELD
    return value[:SHOWN_LETTERS].encode("unicode_escape").decode("ascii")[:SHOWN_LETTERS]
