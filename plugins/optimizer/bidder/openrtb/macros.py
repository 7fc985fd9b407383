"""The values of the macros in a bid request, spelled as BIDS has them."""

from typing import NamedTuple

from optimizer.bidder.openrtb.client_hints import brand_of
from optimizer.bidder.openrtb.mapping import Mapped
from optimizer.bidder.openrtb.oddities import Notes, Unmapped
from optimizer.bidder.openrtb.paths import IMPRESSION, Path, Roots, split_paths
from optimizer.bidder.openrtb.scalars import as_text, oddity_of
from optimizer.bidder.openrtb.spelling import Countries, Spelling


class Macro(NamedTuple):
    """Where a macro's value is, how it is spelled, and what must hold for that spelling."""

    name: str
    paths: tuple[Path, ...]
    spelling: Spelling | None
    conditions: tuple[tuple[Path, frozenset[str | None]], ...]

    @property
    def is_of_impression(self) -> bool:
        """Whether impressions of one request may differ in it."""
        paths = (*self.paths, *(path for path, _ in self.conditions))
        return any(path.root == IMPRESSION for path in paths)


class MacroReader:
    """Reads all macros of a mapping; those of the request once, those of the impression for each."""

    def __init__(self, mapped: Mapped, *, countries: Countries) -> None:
        self._countries = countries
        macros = [_compile(name, mapped, countries) for name in mapped.macros]
        self._of_request = [macro for macro in macros if not macro.is_of_impression]
        self._of_impression = [macro for macro in macros if macro.is_of_impression]

    def read_request(self, roots: Roots, notes: Notes) -> dict[str, str | None]:
        """Return the macros that all impressions share."""
        return {macro.name: self._value(macro, roots, notes) for macro in self._of_request}

    def read_impression(self, roots: Roots, notes: Notes) -> dict[str, str | None]:
        """Return the macros of one impression alone."""
        return {macro.name: self._value(macro, roots, notes) for macro in self._of_impression}

    def _value(self, macro: Macro, roots: Roots, notes: Notes) -> str | None:
        first, spelling = None, macro.spelling
        for root, follow in macro.paths:
            value = follow(roots[root])
            if value is None:
                continue
            text = value.strip() if type(value) is str else as_text(value) or brand_of(value)
            if not text:
                notes.oddities.append(oddity_of(value))
                continue
            if spelling is None:
                return text
            spelled = spelling.find(text)
            if spelled is not None:
                return spelled if not macro.conditions or self._holds(macro, roots) else text
            first = first or text
        if first is not None and self._holds(macro, roots):
            notes.unmapped.append(Unmapped(macro.name, first))
        return first

    def _holds(self, macro: Macro, roots: Roots) -> bool:
        for path, allowed in macro.conditions:
            text = as_text(path.find(roots))
            if text is not None and self._countries.name(text) not in allowed:
                return False
        return True


def _compile(name: str, mapped: Mapped, countries: Countries) -> Macro:
    values = mapped.values.get(name)
    return Macro(
        name=name,
        paths=split_paths(mapped.macros[name]),
        spelling=Spelling(values, prefixes=mapped.prefixes.get(name, ())) if values else None,
        conditions=tuple(
            (Path.split(path), frozenset(map(countries.name, allowed)))
            for path, allowed in mapped.values_where.get(name, {}).items()
        ),
    )
