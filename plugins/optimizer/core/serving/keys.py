"""Segment keys: the text under which the bidder finds a segment's bid.

The optimizer writes keys and the bidder builds them from a bid request; both call `segment_key`.
"""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, unquote

SEPARATOR = "|"

MAX_KEY_BYTES = 250
"""memcached refuses longer keys."""

EMPTY = "%EMPTY"
"""The spelling of an absent or empty value; `quote` never returns it, so no real value collides with it."""

# Printable ASCII that can break neither a CSV field nor a memcached key nor the key itself.
_SAFE = "!#$&()*+-./:;<=>?@[]^_`{}~"
_SURROGATES = "surrogatepass"


@lru_cache(maxsize=65_536)  # the bidder meets the same few values in every request
def escape_value(value: str | None) -> str:
    """Return one feature value as it is in a key: UTF-8, percent-encoded where it could break something.

    A lone surrogate, which JSON can bring and the warehouse cannot hold, has a spelling of its own: it finds nothing.
    """
    return quote(value, safe=_SAFE, errors=_SURROGATES) if value else EMPTY


def segment_key(values: Iterable[str | None]) -> str:
    """Return the key of a segment, its feature values in feature order: `New%20York|android`."""
    return SEPARATOR.join(map(escape_value, values))


def split_key(key: str) -> list[str | None]:
    """Return the feature values of a key; the inverse of `segment_key` but for empty text, which comes back as None."""
    return [None if part == EMPTY else unquote(part, errors=_SURROGATES) for part in key.split(SEPARATOR)]
