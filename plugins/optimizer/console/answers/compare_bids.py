"""How the served bids of two runs differ, and what that costs a day."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from optimizer.console.context import Context
from optimizer.control_plane.records import Run
from optimizer.core.frames import rows_of
from optimizer.core.pricing.segment_search import key_text
from optimizer.core.pricing.served_changes import CAUSES
from optimizer.reporting.tables import REASONS
from optimizer.runs.compared_runs import ComparedPair

PAGE_ROWS = 25


class ServedBidChange(BaseModel):
    """A segment whose served bid changed, CPM; 0: no bid.

    text: its values as people read them. requests: a day. spend_change: of the expected spend a day, currency units.
    cause: what moved the bid furthest, and meaning: in words.
    """

    segment_key: str
    text: str
    requests: float
    before_cpm: float
    after_cpm: float
    spend_change: float
    cause: str
    meaning: str
    has_before: bool
    has_after: bool


class CauseSum(BaseModel):
    """The changes of one cause together."""

    cause: str
    meaning: str
    segments: int
    requests: float
    spend_change: float


class ServedChanges(BaseModel):
    """The changes of one page, those with most money at stake first, and all others summed up.

    spend_change: of all changes, currency units a day; at_stake: the same without the signs.
    rest_segments, rest_spend_change: of the changes that are not on this page.
    """

    rows: list[ServedBidChange]
    total: int
    page: int
    pages: int
    spend_change: float
    at_stake: float
    rest_segments: int
    rest_spend_change: float
    causes: list[CauseSum]


def served_changes_of(
    pair: ComparedPair, asked: Context, before: Run, after: Run, *, page: int
) -> ServedChanges | None:
    """Return a page of the changes and the sums of all; None where the segment keys differ."""
    if (changes := pair.changes) is None:
        return None
    shown = changes.iloc[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    keys = [_known_keys(asked, row, shown["segment_key"]) for row in (before, after)]
    total = float(changes["spend_change"].sum())
    return ServedChanges(
        rows=[_change(row, keys) for row in rows_of(shown)],
        total=len(changes),
        page=page,
        pages=max(1, -(-len(changes) // PAGE_ROWS)),
        spend_change=total,
        at_stake=float(np.abs(changes["spend_change"]).sum()),
        rest_segments=len(changes) - len(shown),
        rest_spend_change=total - float(shown["spend_change"].sum()),
        causes=_causes(changes),
    )


def _known_keys(asked: Context, row: Run, keys: pd.Series) -> set[str]:
    """Those of the keys that the run has a bid for, so that it can explain them."""
    own = asked.published.run(row, store=asked.systems.store).bids["segment_key"]
    return set(own[own.isin(keys)])


def _change(row: Any, keys: Sequence[set[str]]) -> ServedBidChange:
    return ServedBidChange(
        segment_key=row.segment_key,
        text=key_text(row.segment_key),
        requests=float(row.requests),
        before_cpm=float(row.before_cpm),
        after_cpm=float(row.after_cpm),
        spend_change=float(row.spend_change),
        cause=row.cause,
        meaning=_meaning(row.cause),
        has_before=row.segment_key in keys[0],
        has_after=row.segment_key in keys[1],
    )


def _causes(changes: pd.DataFrame) -> list[CauseSum]:
    grouped = changes.groupby("cause")[["requests", "spend_change"]]
    sums = grouped.sum().assign(segments=grouped.size()).sort_values("requests", ascending=False, kind="stable")
    return [
        CauseSum(
            cause=str(row.Index),
            meaning=_meaning(str(row.Index)),
            segments=int(row.segments),
            requests=float(row.requests),
            spend_change=float(row.spend_change),
        )
        for row in rows_of(sums)
    ]


def _meaning(cause: str) -> str:
    return CAUSES.get(cause) or REASONS.get(cause, "")
