"""The segments of a run: found by words, and one of them explained number by number."""

from collections.abc import Sequence

import pandas as pd
from pydantic import BaseModel

from optimizer.console.answers.run import OwnedRun
from optimizer.console.context import Context
from optimizer.core.frames import rows_of
from optimizer.core.pricing.bid_steps import known
from optimizer.core.pricing.explanation import Explanation, explain_bid, find_segment
from optimizer.core.pricing.segment_curve import CurvePoints, segment_curve
from optimizer.core.pricing.segment_search import value_text
from optimizer.core.serving.keys import split_key
from optimizer.runs.published_run import PublishedRun

MOST_FOUND = 50


class SegmentRow(BaseModel):
    """A segment in a list; bids in CPM, values in the order of the key, None where one is missing."""

    segment_key: str
    values: list[str | None]
    bids: int
    suggested_bid_cpm: float | None
    expected_win_rate: float | None
    observed_win_rate: float | None
    reason: str
    is_served: bool


class SegmentList(BaseModel):
    """The segments that match, those with most bids in the log first. total: how many match in all."""

    run_id: str
    features: list[str]
    rows: list[SegmentRow]
    total: int
    segments: int


class Segment(BaseModel):
    """A segment: what `optimizer explain` says of it, and its curve. values: how it reads."""

    run_id: str
    values: list[str]
    explanation: Explanation
    curve: CurvePoints


def search_segments(asked: Context, found: OwnedRun, *, search: str = "", most: int = MOST_FOUND) -> SegmentList:
    """Return the segments of the run whose feature values have all words, in any order and case.

    Raises:
        RunStateError, ArtifactError, UnavailableError: the run's bids cannot be read.
    """
    run = read_bids(asked, found)
    matching = asked.published.index(found.row, store=asked.systems.store).find(search, most=most)
    return SegmentList(
        run_id=run.run_id,
        features=list(run.features),
        rows=_rows(run.bids.iloc[list(matching.places)]),
        total=matching.total,
        segments=len(run.bids),
    )


def explain_segment(asked: Context, found: OwnedRun, key: str) -> Segment:
    """Return how the bid of a segment was computed: the numbers of `optimizer explain`.

    Raises:
        DataError: the run has no bid for the key; the message names the nearest keys.
        RunStateError, ArtifactError, UnavailableError: the run's bids cannot be read.
    """
    run = read_bids(asked, found)
    row, landscape = find_segment(run.bids, key, run_id=run.run_id, blocked=run.blocked), run.landscape
    explanation = explain_bid(row, features=run.features, pricing=run.pricing, win_rate=landscape.win_rate)
    return Segment(
        run_id=run.run_id,
        values=[value_text(value) for value in explanation.features.values()],
        explanation=explanation,
        curve=segment_curve(row, landscape, level_sd=run.level_sd),
    )


def read_bids(asked: Context, found: OwnedRun) -> PublishedRun:
    """Return the run with its bids.

    Raises:
        RunStateError, ArtifactError, UnavailableError: they cannot be read.
    """
    return asked.published.run(found.row, store=asked.systems.store)


def _rows(table: pd.DataFrame) -> Sequence[SegmentRow]:
    return [
        SegmentRow(
            segment_key=row.segment_key,
            values=split_key(row.segment_key),
            bids=int(row.bids),
            suggested_bid_cpm=known(row.suggested_bid_cpm),
            expected_win_rate=known(row.expected_win_rate),
            observed_win_rate=known(row.observed_win_rate),
            reason=row.reason,
            is_served=bool(row.is_served),
        )
        for row in rows_of(table)
    ]
