"""Values of a bid request in the spelling of BIDS."""

from collections.abc import Iterable, Mapping

KEPT_VALUES = 10_000
"""Spellings that were looked up are kept up to this number, so that the next request finds them at once."""

LONGEST_SPELLING = 250
"""A longer value is not looked up, and not kept."""


class Spelling:
    """How the values of one macro are spelled in BIDS.

    Case, outer spaces and repeated spaces make no difference, nor does a version at the end: `Windows 7` and `iOS 17.2`
    are looked up as `windows` and `ios` where they are not listed themselves.

    found: what was looked up before and is known.
    """

    def __init__(self, values: Mapping[str, str], *, prefixes: Iterable[str] = ()) -> None:
        """Know the values that are listed, and their spellings themselves."""
        self._values = {fold(value): value for value in values.values()}
        self._values |= {fold(spelled): value for spelled, value in values.items()}
        self._prefixes = tuple(map(fold, prefixes))
        self.found: dict[str, str] = {}
        self._unknown: set[str] = set()

    def find(self, text: str) -> str | None:
        """Return the value's spelling in BIDS, or None where it is not known."""
        value = self.found.get(text)
        if value is not None or text in self._unknown or len(text) > LONGEST_SPELLING:
            return value
        value = self._look_up(fold(text)) or None
        if len(self.found) + len(self._unknown) < KEPT_VALUES:
            if value is None:
                self._unknown.add(text)
            else:
                self.found[text] = value
        return value

    def _look_up(self, folded: str) -> str | None:
        for prefix in ("", *self._prefixes):
            value = self._values.get(folded.removeprefix(prefix)) if folded.startswith(prefix) else None
            if value is not None:
                return value
        head, _, version = folded.rpartition(" ")
        return self._look_up(head) if head and version[:1].isdecimal() else None


class Countries:
    """Spellings of countries, so that two that mean the same agree."""

    def __init__(self, countries: Mapping[str, Iterable[str]]) -> None:
        self._countries = {fold(it): fold(name) for name, spelled in countries.items() for it in (name, *spelled)}
        self._kept: dict[str, str] = {}

    def name(self, text: str | None) -> str | None:
        """Return one name for all spellings of a country; None where none is given."""
        if text is None:
            return None
        found = self._kept.get(text)
        if found is None:
            folded = fold(text)
            found = self._countries.get(folded, folded)
            if len(self._kept) < KEPT_VALUES and len(text) <= LONGEST_SPELLING:
                self._kept[text] = found
        return found


def fold(text: str) -> str:
    """Return the text without what makes no difference: case, outer spaces and repeated spaces."""
    return " ".join(text.split()).casefold()
