"""Find segments by plain words, such as `New York ios`."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from optimizer.core.serving.keys import SEPARATOR, split_key

NONE = "none"
"""The word that finds a missing value."""


@dataclass(frozen=True, slots=True)
class SegmentMatches:
    """Places of the segments that match, the best first, and how many match in all."""

    places: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True)
class SegmentIndex:
    """The feature values of a run's segments, as text that words are looked up in.

    texts: of each segment, in the order of its keys: its values in lower case, each word between blanks.
    """

    texts: pd.Series

    @classmethod
    def of(cls, keys: Iterable[str]) -> "SegmentIndex":
        """Return the index of these segment keys."""
        texts = [f" {' '.join(map(_part_words, key.split(SEPARATOR)))} " for key in keys]
        return cls(pd.Series(texts, dtype="str"))

    def find(self, search: str, *, most: int) -> SegmentMatches:
        """Return the segments whose values have all words, in any order and case; a word may be a part of one.

        Segments that have more of the words as whole words come first, else the order of the keys stays.

        Args:
            search: words between blanks. Without any, every segment matches.
            most: how many places are returned.
        """
        words = search.casefold().split()
        found = self.texts
        for word in words:
            found = found[found.str.contains(word, regex=False)]
        whole = np.zeros(len(found), dtype=int)
        for word in words:
            whole += found.str.contains(f" {word} ", regex=False).to_numpy(bool)
        best = np.argsort(-whole, kind="stable")[:most]
        return SegmentMatches(tuple(int(place) for place in found.index[best]), len(found))


def value_text(value: str | None) -> str:
    """Return a feature value as people read it."""
    return NONE if value is None else value


def key_text(key: str) -> str:
    """Return a segment key as people read it: its values with commas between."""
    return ", ".join(map(value_text, split_key(key)))


@lru_cache(maxsize=65_536)  # the keys of a run share a few values
def _part_words(part: str) -> str:
    """The words of one part of a key. A lone surrogate, which no text holds, becomes a question mark."""
    text = value_text(split_key(part)[0]).casefold().encode("utf-8", "replace").decode()
    return " ".join(text.split())
