"""The values of the macros in a bid request, spelled as BIDS has them.

Each macro is a function of the request, made once when the mapping is loaded.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from optimizer.bidder.openrtb.client_hints import brand_of
from optimizer.bidder.openrtb.mapping import Mapped
from optimizer.bidder.openrtb.oddities import Notes, Unmapped
from optimizer.bidder.openrtb.paths import IMPRESSION, Path, Roots, split_paths
from optimizer.bidder.openrtb.scalars import as_text, oddity_of
from optimizer.bidder.openrtb.spelling import Countries, Spelling

Read = Callable[[Roots, Notes], str | None]
"""Returns a macro's value in one impression."""


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
        macros = [_describe(name, mapped, countries) for name in mapped.macros]
        self._of_request = [(it.name, _compile(it, countries)) for it in macros if not it.is_of_impression]
        self._of_impression = [(it.name, _compile(it, countries)) for it in macros if it.is_of_impression]

    def read_request(self, roots: Roots, notes: Notes) -> dict[str, str | None]:
        """Return the macros that all impressions share."""
        return {name: read(roots, notes) for name, read in self._of_request}

    def read_impression(self, roots: Roots, notes: Notes, *, shared: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return all macros of one impression, of which `shared` are those that all impressions share."""
        macros = {**shared}
        for name, read in self._of_impression:
            macros[name] = read(roots, notes)
        return macros


def _compile(macro: Macro, countries: Countries) -> Read:
    paths, spelling, conditions = macro.paths, macro.spelling, macro.conditions
    found = {} if spelling is None else spelling.found

    def holds(roots: Roots) -> bool:
        for path, allowed in conditions:
            text = as_text(path.find(roots))
            if text is not None and countries.name(text) not in allowed:
                return False
        return True

    def read(roots: Roots, notes: Notes) -> str | None:
        first = None
        for root, follow in paths:
            value = follow(roots[root])
            if value is None:
                continue
            text = value.strip() if type(value) is str else as_text(value) or brand_of(value)
            if not text:
                notes.oddities.append(oddity_of(value))
                continue
            if spelling is None:
                return text
            spelled = found.get(text) or spelling.find(text)
            if spelled is not None:
                return spelled if not conditions or holds(roots) else text
            first = first or text
        if first is not None and holds(roots):
            notes.unmapped.append(Unmapped(macro.name, first))
        return first

    return read


def _describe(name: str, mapped: Mapped, countries: Countries) -> Macro:
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
