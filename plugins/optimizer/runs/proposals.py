"""What a what-if answers: figures with intervals, the largest moves, and what the run has no evidence for.

All values are plain and frozen, so that a page, a command and an API can render the same answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.pricing.forecast import COVERAGES
from optimizer.core.pricing.target_reach import MIN_SHARE_NAMED, TOLERANCE
from optimizer.core.records.estimate import Estimate
from optimizer.presentation.formats import amount, percent
from optimizer.runs.learned import Learned
from optimizer.runs.limit_intervals import LimitIntervals
from optimizer.runs.priced_figures import expected_of, forecast_next_days
from optimizer.runs.pricing import PlannedRun

LARGEST_MOVES = 20
TAIL = COVERAGES[95]
"""End of the names of the 95 % interval's figures."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What bids are expected to bring in the next days.

    win_rate: share of the requests, 0 to 1. cpm: of a win. spend_per_day: in the account's currency.
    margin: None where wins have no value. shadow_price: lambda, CPM.
    limits: limit -> share of the requests whose bid it decides, see `LIMITS`; every limit is there.
    """

    win_rate: Estimate
    cpm: Estimate
    spend_per_day: Estimate
    margin: Estimate
    shadow_price: Estimate
    limits: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Move:
    """A segment whose served bid changes.

    now_cpm, proposed_cpm: None where there is no bid; change: relative, None where one of the two is missing.
    cause: the reason of the proposed bid, one of `optimizer.core.pricing.bids.REASONS`.
    requests: a day. spend_change: a day, in the account's currency.
    """

    segment_key: str
    now_cpm: float | None
    proposed_cpm: float | None
    change: float | None
    cause: str
    requests: float
    spend_change: float


@dataclass(frozen=True, slots=True)
class EvidenceLimits:
    """Where a wish leaves the bids that the log knows, once daily steps no longer hold it back.

    low_cpm, high_cpm: the trust band. share_above, share_below: share of the requests whose bid it ends.
    """

    low_cpm: float
    high_cpm: float
    share_above: float
    share_below: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """The bids as they are, as a run with the wish would set them, and where its daily runs lead.

    wish: the changed settings, checked and typed. target_win_rate: wished, or the run's own.
    now: of the run itself. proposed: of a run that starts now. settled: the same without the daily step, which is where
        the runs of the next days arrive if the market stays as it is.
    moves: from now to proposed, the largest change of spend first, at most `LARGEST_MOVES`.
    moved_segments: how many bids change.
    """

    run_id: str
    wish: Mapping[str, Any]
    target_win_rate: float
    now: Figures
    proposed: Figures
    settled: Figures
    evidence: EvidenceLimits
    moves: tuple[Move, ...]
    moved_segments: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user has to know before the figures: a target that is missed, bids without evidence."""
        return tuple(note for note in (self._shortfall, *self._evidence_notes) if note is not None)

    @property
    def _shortfall(self) -> str | None:
        reached = self.settled.win_rate.value
        if reached is None or reached >= self.target_win_rate - TOLERANCE:
            return None
        name, most = max(self.settled.limits.items(), key=lambda item: item[1].value or 0.0)
        limit = f", limited by {name} on {percent(most.value)} of requests" if most.value else ""
        return f"target_win_rate={self.target_win_rate:g} is not reached: {percent(reached)} after daily steps{limit}"

    @property
    def _evidence_notes(self) -> Iterator[str]:
        found = self.evidence
        for side, edge, share in (
            ("above", found.high_cpm, found.share_above),
            ("below", found.low_cpm, found.share_below),
        ):
            if share >= MIN_SHARE_NAMED:
                yield (
                    f"for target_win_rate={self.target_win_rate:g} the run has no evidence {side} {amount(edge)} CPM "
                    f"on {percent(share)} of requests; bids stop there, and each daily run widens what the log knows"
                )


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """What one target brings, without the daily step. CPM is that of a win."""

    target_win_rate: float
    win_rate: float
    cpm: float


def figures_of(planned: PlannedRun, learned: Learned) -> Figures:
    """Return what the planned bids are expected to bring."""
    expected = expected_of(planned.bids, planned.plan, planned.policy)
    forecast = forecast_next_days(planned.bids, learned, planned.policy, planned.landscape)
    figures = expected | forecast
    intervals = LimitIntervals.of(planned, learned, level_sd=forecast.get("forecast_level_sd") or 0.0)
    return Figures(
        win_rate=_forecast(figures, "expected_win_rate"),
        cpm=_forecast(figures, "expected_cpm"),
        spend_per_day=_forecast(figures, "expected_spend_per_day"),
        margin=_forecast(figures, "expected_margin"),
        shadow_price=Estimate(planned.plan.shadow_price_cpm, *intervals.shadow_price_cpm),
        limits={name: Estimate(share, *intervals.shares[name]) for name, share in intervals.values.items()},
    )


def evidence_of(settled: PlannedRun) -> EvidenceLimits:
    """Return where these bids end at the trust band."""
    bids = settled.bids
    is_ended, planned = bids["reason"] == "trust_band", bids["wanted_bid_cpm"]
    low, high = float(bids["trust_low_cpm"].min()), float(bids["trust_high_cpm"].max())
    return EvidenceLimits(
        low_cpm=low,
        high_cpm=high,
        share_above=_share(bids["requests"], is_ended & (planned > bids["trust_high_cpm"])),
        share_below=_share(bids["requests"], is_ended & (planned < bids["trust_low_cpm"])),
    )


def moves_between(now: pd.DataFrame, proposed: pd.DataFrame) -> tuple[tuple[Move, ...], int]:
    """Return the largest moves, and how many bids move.

    Args:
        now, proposed: `PlannedRun.bids`, with the same segments in the same order.
    """
    before, after = now["suggested_bid_cpm"], proposed["suggested_bid_cpm"]
    spend = _spend(proposed) - _spend(now)
    is_moved = before.fillna(0.0) != after.fillna(0.0)
    rows = spend[is_moved].abs().sort_values(ascending=False, kind="stable").index[:LARGEST_MOVES]
    table = pd.DataFrame(
        {
            "segment_key": proposed["segment_key"],
            "now_cpm": before,
            "proposed_cpm": after,
            "change": after / before - 1,
            "cause": proposed["reason"],
            "requests": proposed["requests"].astype(float),
            "spend_change": spend,
        }
    ).loc[rows]
    known = table.astype(object).where(table.notna(), None)
    return tuple(Move(*row) for row in known.itertuples(index=False, name=None)), int(is_moved.sum())


def _forecast(figures: Mapping[str, Any], name: str) -> Estimate:
    return Estimate(figures.get(name), *(figures.get(f"{name}_{end}{TAIL}") for end in ("low", "high")))


def _spend(bids: pd.DataFrame) -> pd.Series:
    """Expected spend of each segment a day, in the account's currency."""
    return (bids["requests"] * bids["expected_win_rate"] * bids["expected_cost_cpm"] / 1000).fillna(0.0)


def _share(requests: pd.Series, rows: pd.Series) -> float:
    total = float(requests.sum())
    return float(requests[np.asarray(rows, bool)].sum()) / total if total > 0 else 0.0
