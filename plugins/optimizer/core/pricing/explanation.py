"""How one bid was computed: every number between a segment's evidence and the bid that the bidder finds."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pandas as pd

from optimizer.core.pricing.bid_steps import BidStep, RunPricing, WinRate, bid_steps, known
from optimizer.core.pricing.reason_text import Worth, reason_text
from optimizer.core.serving.keys import split_key
from optimizer.errors import DataError

MOST_HINTED = 2_000
"""The nearest keys are looked for among the first ones, those with most bids: each comparison takes 0.05 ms."""


@dataclass(frozen=True, slots=True)
class SegmentEvidence:
    """What the log says of the segment; `effective_bids` are weighted by age. Rates that are not known are None."""

    bids: int
    views: int
    clicks: int
    effective_bids: float
    observed_win_rate: float | None
    observed_ctr: float | None
    modelled_ctr: float | None


@dataclass(frozen=True, slots=True)
class SegmentCurve:
    """The win-rate curve, in logit units at the reference bid.

    level = (model_level + level_shift + level_correction) / flatness and slope = model_slope / flatness: a curve is
    flatter the less its level is known. Where a hidden floor is out of reach, the level is one that cannot win.

    own_share: share of the level that is the segment's own evidence, 0 to 1; the rest is the model's.
    slope_error: standard error of model_slope.
    hidden_floor_cpm: bids below it won nothing; None if there is none.
    modelled_win_rate: at the segment's mean logged bid.
    """

    reference_cpm: float
    model_level: float
    level_shift: float
    level_correction: float
    own_share: float
    level_error: float
    flatness: float
    level: float
    win_rate_at_reference: float
    modelled_win_rate: float
    model_slope: float
    slope: float
    slope_error: float
    is_slope_identified: bool
    hidden_floor_cpm: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that made one bid. `steps` lead from the wanted bid through the bounds, in order, to the suggested one.

    not_served_because: why the bidder finds no bid of this segment; None where it finds one.
    """

    segment_key: str
    features: dict[str, str | None]
    evidence: SegmentEvidence
    curve: SegmentCurve
    worth: Worth
    steps: tuple[BidStep, ...]
    wanted_bid_cpm: float
    planned_bid_cpm: float | None
    jitter: float
    suggested_bid_cpm: float | None
    expected_win_rate: float
    expected_margin: float | None
    is_served: bool
    not_served_because: str | None
    reason: str
    reason_text: str


def find_segment(bids: pd.DataFrame, key: str, *, run_id: str, blocked: Container[str] = frozenset()) -> pd.Series:
    """Return the row of the segment.

    Args:
        blocked: keys that the run says not to bid on; they have no row.

    Raises:
        DataError: the key is blocked, or does not exist; then the nearest keys are named.
    """
    rows = bids[bids["segment_key"] == key]
    if len(rows) == 1:
        return rows.iloc[0]
    if key in blocked:
        raise DataError(
            f"run {run_id} blocks segment {key!r}: memcache.csv has it with a bid of 0, as nothing is left between its "
            "floor and what margin and cap allow; compare its floor, max_bid_cpm and target_margin"
        )
    near = get_close_matches(key, bids["segment_key"].head(MOST_HINTED).tolist(), n=3, cutoff=0.5)
    hint = f"; nearest are {', '.join(near)}" if near else ""
    raise DataError(
        f"run {run_id} has no bid for segment {key!r} among its {len(bids):,} keys{hint}; "
        "write the key as it is in suggested_bids.csv, in quotes"
    )


def explain_bid(
    row: Mapping[str, Any] | pd.Series,
    *,
    features: Sequence[str],
    pricing: RunPricing,
    win_rate: WinRate,
) -> Explanation:
    """Return how the bid of one segment was computed.

    Args:
        row: the segment's row of suggested_bids.csv.
        features: of the segment key, in order.
        win_rate: P(win) at (level, slope, bid CPM) on the run's curves.
    """
    values = dict(zip(features, split_key(row["segment_key"]), strict=True))
    return Explanation(
        segment_key=row["segment_key"],
        features=values,
        evidence=_evidence(row),
        curve=_curve(row, pricing, win_rate),
        worth=_worth(row, pricing),
        steps=tuple(bid_steps(row, pricing, win_rate)),
        wanted_bid_cpm=float(row["wanted_bid_cpm"]),
        planned_bid_cpm=known(row["planned_bid_cpm"]),
        jitter=float(row["jitter"]),
        suggested_bid_cpm=known(row["suggested_bid_cpm"]),
        expected_win_rate=float(row["expected_win_rate"]),
        expected_margin=known(row["expected_margin"]),
        is_served=bool(row["is_served"]),
        not_served_because=None
        if row["is_served"]
        else "nothing is left between its floor and what margin and cap allow",
        reason=row["reason"],
        reason_text=explain_reason(row, pricing=pricing, win_rate=win_rate),
    )


def explain_reason(row: Mapping[str, Any] | pd.Series, *, pricing: RunPricing, win_rate: WinRate) -> str:
    """Return what decided the bid of one segment as a sentence; the arguments are those of `explain_bid`."""
    return reason_text(row, pricing, _worth(row, pricing), win_rate)


def _evidence(row: Mapping[str, Any] | pd.Series) -> SegmentEvidence:
    return SegmentEvidence(
        bids=int(row["bids"]),
        views=int(row["views"]),
        clicks=int(row["clicks"]),
        effective_bids=float(row["effective_bids"]),
        observed_win_rate=known(row["observed_win_rate"]),
        observed_ctr=known(row["observed_ctr"]),
        modelled_ctr=known(row["modelled_ctr"]),
    )


def _curve(row: Mapping[str, Any] | pd.Series, pricing: RunPricing, win_rate: WinRate) -> SegmentCurve:
    level, slope = float(row["level"]), float(row["slope"])
    return SegmentCurve(
        reference_cpm=pricing.reference_cpm,
        model_level=float(row["model_level"]),
        level_shift=float(row["level_shift"]),
        level_correction=pricing.level_correction,
        own_share=float(row["own_share"]),
        level_error=float(row["level_error"]),
        flatness=float(row["flatness"]),
        level=level,
        win_rate_at_reference=float(win_rate(level, slope, pricing.reference_cpm)),
        modelled_win_rate=float(row["modelled_win_rate"]),
        model_slope=slope * float(row["flatness"]),
        slope=slope,
        slope_error=float(row["slope_error"]),
        is_slope_identified=bool(row["is_slope_identified"]),
        hidden_floor_cpm=float(row["hidden_floor_cpm"]) or None,
    )


def _worth(row: Mapping[str, Any] | pd.Series, pricing: RunPricing) -> Worth:
    value, margin = known(row["value_cpm"]), pricing.settings.target_margin
    own = pricing.value_trust * (1 - margin) * (value or 0.0)
    return Worth(value, pricing.value_trust, margin, own, pricing.shadow_price_cpm, own + pricing.shadow_price_cpm)
