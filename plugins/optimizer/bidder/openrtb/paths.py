"""Paths into a bid request, such as `device.geo.region`, split once and followed for each request."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from optimizer.bidder.openrtb.scalars import Object

Roots = tuple[Object, Object, Object]
"""What the paths of one impression begin at: the request, the place of the impression, and the impression."""

REQUEST, PLACE, IMPRESSION = range(3)
"""Places in `Roots`."""

_BEGINNINGS = {"geo": PLACE, "imp": IMPRESSION}
"""First step of a path that does not begin at the request."""


class Path(NamedTuple):
    """Where a path begins, and what follows it from there to its value, or to None."""

    root: int
    follow: Callable[[Object], Any]

    @classmethod
    def split(cls, text: str) -> "Path":
        """Return the path of its text."""
        first, *rest = text.split(".")
        if first in _BEGINNINGS and rest:
            return cls(_BEGINNINGS[first], _follower(*rest))
        return cls(REQUEST, _follower(first, *rest))

    def find(self, roots: Roots) -> Any:
        """Return the value at the end of the path, or None."""
        return self.follow(roots[self.root])


def split_paths(texts: Iterable[str]) -> tuple[Path, ...]:
    """Return the paths of their texts."""
    return tuple(map(Path.split, texts))


def _follower(first: str, *rest: str) -> Callable[[Object], Any]:
    """What follows these steps; the two of most paths are one call."""
    if not rest:
        return lambda root: root.get(first)
    if len(rest) == 1 and not rest[0].isdecimal():
        return _pair_follower(first, *rest)
    behind, is_in_list = _follower(*rest), rest[0].isdecimal()

    def follow(root: Object) -> Any:
        value = root.get(first)
        if type(value) is dict:
            return behind(value)
        return _follow_list(value, rest) if is_in_list else None

    return follow


def _pair_follower(first: str, second: str) -> Callable[[Object], Any]:
    def follow(root: Object) -> Any:
        value = root.get(first)
        return value.get(second) if type(value) is dict else None

    return follow


def _follow_list(value: Any, steps: tuple[str, ...]) -> Any:
    """The value behind a place in a list."""
    if type(value) is not list or int(steps[0]) >= len(value):
        return None
    found, behind = value[int(steps[0])], steps[1:]
    if not behind:
        return found
    if type(found) is dict:
        return _follower(*behind)(found)
    return _follow_list(found, behind) if behind[0].isdecimal() else None
