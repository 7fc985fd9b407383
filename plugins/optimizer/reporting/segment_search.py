"""The data of the report's segment search: the numbers of the segments with most requests, as compact JSON.

Columns instead of rows, one value where all segments share it, and every distinct text once keep it small.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from optimizer.core.frames import rows_of
from optimizer.core.pricing.bid_bounds import Bounds
from optimizer.core.pricing.bid_steps import planned_limits
from optimizer.core.pricing.explanation import explain_reason
from optimizer.core.serving.keys import SEPARATOR, split_key
from optimizer.reporting.report_data import RunStory

MOST_SEGMENTS = 5_000
MOST_BYTES = 700_000

_DIGITS = {
    "requests": 1,
    "observed_win_rate": 4,
    "expected_win_rate": 4,
    "expected_margin": 4,
    "wanted_bid_cpm": 2,
    "planned_bid_cpm": 2,
    "suggested_bid_cpm": 2,
}
"""Column of the bid table that the search shows: digits after the point."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SLOT = "\x00"
"""In a sentence's pattern, in place of a number."""

_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}


@dataclass(frozen=True, slots=True)
class SegmentSearch:
    """What the search covers.

    content: the JSON as text of a script element.
    request_share: share of the requests that these segments have.
    """

    content: Markup
    segments: int
    left_out: int
    request_share: float


def segment_search(story: RunStory) -> SegmentSearch:
    """Return the segments with most requests: `MOST_SEGMENTS` of them, fewer where they take over `MOST_BYTES`."""
    ordered = story.bids.sort_values("requests", ascending=False, kind="stable")
    number = min(MOST_SEGMENTS, len(ordered))
    content = _content(ordered.head(number), story)
    while len(content) > MOST_BYTES:
        number = int(0.9 * number * MOST_BYTES / len(content))
        content = _content(ordered.head(number), story)
    shown, total = ordered["requests"].head(number).sum(), ordered["requests"].sum()
    return SegmentSearch(
        content=Markup(content),  # noqa: S704 - escaped by _content
        segments=number,
        left_out=len(ordered) - number,
        request_share=float(shown / total) if total > 0 else 1.0,
    )


def _content(rows: pd.DataFrame, story: RunStory) -> str:
    """The JSON in ASCII, without a character that could end a script element."""
    document = {
        "segments": len(rows),
        "features": _features(rows["segment_key"], story.key_features),
        "columns": {name: _column(rows[name], digits) for name, digits in _DIGITS.items()},
        "live_bid_cpm": _column(_live_bids(rows, story), 2),
        "limits": _limits(rows, story),
        "reason": _reasons(rows, story),
    }
    return json.dumps(document, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _features(keys: pd.Series, features: Sequence[str]) -> list[dict[str, Any]]:
    """Each feature with its distinct parts of keys, how they read, and the part that each segment has."""
    columns = zip(*(key.split(SEPARATOR) for key in keys), strict=True)
    found = []
    for feature, column in zip(features, columns, strict=True):
        codes, parts = pd.factorize(pd.Series(column))
        values = [split_key(part)[0] for part in parts]
        readable = [None if value is None else value.encode("utf-8", "replace").decode() for value in values]
        found.append({"name": feature, "parts": list(parts), "values": readable, "codes": codes.tolist()})
    return found


def _live_bids(rows: pd.DataFrame, story: RunStory) -> Iterable[float]:
    """What the live run serves, NaN where that is not known: the changed bids, and the run's own on all others."""
    if story.live is None or story.live.changes is None:
        return np.full(len(rows), np.nan)
    changes = story.live.changes
    before = dict(zip(changes["segment_key"], changes["before_cpm"], strict=True))
    return rows["segment_key"].map(before).astype(float).fillna(rows["suggested_bid_cpm"].fillna(0.0))


def _limits(rows: pd.DataFrame, story: RunStory) -> Mapping[str, Mapping[str, Any]]:
    """The lowest and highest planned bid that each bound allows, null where it is absent; see `optimizer explain`."""
    limits = planned_limits(Bounds.of(rows, story.pricing.policy), size=len(rows))
    return {
        name: {
            "low": _column(np.where(low > 0, low, np.nan), 2),
            "high": _column(high, 2),
        }
        for name, (low, high) in limits.items()
    }


def _reasons(rows: pd.DataFrame, story: RunStory) -> dict[str, Any]:
    """The sentence on each bid: its pattern, in parts between numbers, and the numbers themselves."""
    sentences = [explain_reason(row._asdict(), pricing=story.pricing, win_rate=story.win_rate) for row in rows_of(rows)]
    codes, patterns = pd.factorize(pd.Series([_NUMBER.sub(_SLOT, text) for text in sentences], dtype=object))
    numbers = [" ".join(_NUMBER.findall(text)) for text in sentences]
    return {"patterns": [pattern.split(_SLOT) for pattern in patterns], "codes": codes.tolist(), "numbers": numbers}


def _column(values: Iterable[float], digits: int) -> Any:
    """The rounded numbers with None for those that are not finite; a single one where all are equal."""
    numbers = [round(float(value), digits) if np.isfinite(value) else None for value in values]
    return numbers[0] if numbers and len(set(numbers)) == 1 else numbers
