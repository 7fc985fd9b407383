"""Which server of memcached holds a key: the consistent hash of libketama, which clients of many languages have.

A server that is added or lost moves the keys of its own share only. Other bidders have to know the servers by the same
names, host:port, to find the same keys; their order does not matter.
"""

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import md5

HASHES_PER_SERVER = 40
POINTS_PER_HASH = 4


class Ring:
    """160 points a server on a circle of 32 bits; a key belongs to the server of the next point."""

    def __init__(self, names: Sequence[str]) -> None:
        """Place the servers by their names."""
        points = sorted(
            (point, name)
            for name in names
            for number in range(HASHES_PER_SERVER)
            for point in _points(f"{name}-{number}")
        )
        self._points = [point for point, _ in points]
        self._names = [name for _, name in points]

    def name_of(self, key: str) -> str:
        """Return the name of the server that holds the key."""
        point = int.from_bytes(md5(key.encode(), usedforsecurity=False).digest()[:4], "little")
        return self._names[bisect_left(self._points, point) % len(self._points)]


def _points(text: str) -> list[int]:
    digest = md5(text.encode(), usedforsecurity=False).digest()
    return [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 4 * POINTS_PER_HASH, 4)]
