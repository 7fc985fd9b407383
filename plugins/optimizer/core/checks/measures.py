"""What a bid table would do, measured from the table itself and not from figures that an earlier step noted."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.checks.stability import stability_index
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_bounds import CENT

HARD_BOUNDS = ("margin", "cap", "floor")
"""Reasons of bids that may move further than the daily step: these bounds come after it."""


@dataclass(frozen=True, slots=True)
class BidMeasures:
    """Figures of a bid table. Money is CPM, shares are of requests; None where there is nothing to compare with.

    win_rate, spend_cpm: expected at the served bids over all requests; the spend is per thousand requests.
    spend_change, mean_move, stability_index: planned bids against those of the active run.
    largest_step: of a served bid, jitter and cents included, as a share of what was served before; bids whose whole
        step is less than a cent do not count.
    held_move: largest step of a planned bid whose slope is not identified from the bid that it should keep, less what
        the daily step of the served bid asks for.
    jitter_spread: standard deviation of log(served / planned) over the requests that are served.
    rounding_spread: what whole cents alone add to it.
    """

    total_segments: int
    segments_count: int
    segments_in_memcache: int
    served_keys: int
    row_coverage: float
    blocked_share: float
    bound_share: float
    bid_median: float | None
    bid_min: float | None
    bid_max: float | None
    win_rate: float
    spend_cpm: float
    spend_change: float | None
    mean_move: float | None
    stability_index: float | None
    largest_step: float
    held_move: float
    jitter_spread: float
    rounding_spread: float


def measure_bids(bids: pd.DataFrame, *, landscape: Landscape, is_second_price: bool, step_limit: float) -> BidMeasures:
    """Return the figures of the bid table.

    Args:
        bids: one row a segment: requests, suggested_bid_cpm and planned_bid_cpm (NaN: no bid), previous_bid_cpm (NaN:
            none), kept_bid_cpm, step_from_cpm, usual_bid_cpm, is_served, is_blocked, is_held, level, slope, reason.
        step_limit: largest relative change of a served bid a day.
    """
    requests, suggested = bids["requests"].to_numpy(float), bids["suggested_bid_cpm"]
    served, blocked = bids["is_served"].to_numpy(bool), bids["is_blocked"].to_numpy(bool)
    has_bid = suggested.notna().to_numpy()
    market = _Market(bids["level"].to_numpy(float), bids["slope"].to_numpy(float), landscape, is_second_price)
    won, spend = market.outcome(suggested.to_numpy(float))
    planned_spend = market.outcome(bids["planned_bid_cpm"].to_numpy(float))[1]
    previous = bids["previous_bid_cpm"].to_numpy(float)
    both = (previous > 0) & (bids["planned_bid_cpm"].to_numpy(float) > 0)
    spread, rounding = _spreads(bids[served & has_bid])
    is_free = served & ~bids["reason"].isin(HARD_BOUNDS).to_numpy()
    total = requests.sum()
    return BidMeasures(
        total_segments=len(bids),
        segments_count=int(has_bid.sum()),
        segments_in_memcache=int((served | blocked).sum()),
        served_keys=int(served.sum()),
        row_coverage=float(requests[served & has_bid].sum() / total),
        blocked_share=float(requests[blocked].sum() / total),
        bound_share=float(bids["reason"].isin(["cap", "floor"])[has_bid].sum() / max(1, has_bid.sum())),
        bid_median=float(suggested.median()) if has_bid.any() else None,
        bid_min=float(suggested.min()) if has_bid.any() else None,
        bid_max=float(suggested.max()) if has_bid.any() else None,
        win_rate=float(requests @ won / total),
        spend_cpm=float(requests @ spend / total),
        **_changes(bids[both], planned_spend[both], market.take(both), requests[both]),
        largest_step=_largest_step(bids[is_free & has_bid], step_limit),
        held_move=_held_move(bids[is_free & has_bid], step_limit),
        jitter_spread=spread,
        rounding_spread=rounding,
    )


@dataclass(frozen=True, slots=True)
class _Market:
    level: np.ndarray
    slope: np.ndarray
    landscape: Landscape
    is_second_price: bool

    def outcome(self, bid_cpm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return win rate and spend per request of each segment; 0 without a bid."""
        is_bid = np.isfinite(bid_cpm) & (bid_cpm > 0)
        bid = np.where(is_bid, bid_cpm, CENT)
        won = np.where(is_bid, self.landscape.win_rate(self.level, self.slope, bid), 0.0)
        cost = self.landscape.mean_price(self.level, self.slope, bid) if self.is_second_price else bid
        return won, won * cost

    def take(self, rows: np.ndarray) -> "_Market":
        return _Market(self.level[rows], self.slope[rows], self.landscape, self.is_second_price)


def _changes(
    both: pd.DataFrame, planned_spend: np.ndarray, market: _Market, requests: np.ndarray
) -> dict[str, float | None]:
    """What changes over the segments that this run and the active one bid on."""
    if both.empty:
        return {"spend_change": None, "mean_move": None, "stability_index": None}
    old, new = both["previous_bid_cpm"].to_numpy(float), both["planned_bid_cpm"].to_numpy(float)
    before = requests @ market.outcome(old)[1]
    return {
        "spend_change": float(requests @ planned_spend / before - 1) if before > 0 else None,
        "mean_move": float(np.average(np.abs(new / old - 1), weights=requests)),
        "stability_index": stability_index(old, new, weights=requests),
    }


def _largest_step(rows: pd.DataFrame, step_limit: float) -> float:
    before, served = rows["step_from_cpm"].to_numpy(float), rows["suggested_bid_cpm"].to_numpy(float)
    known = before * step_limit >= CENT
    return float(np.abs(served[known] / before[known] - 1).max(initial=0.0))


def _held_move(rows: pd.DataFrame, step_limit: float) -> float:
    """By how much a held segment's planned bid leaves the bid it should keep, beyond what its daily step forces."""
    held = rows[rows["is_held"].to_numpy(bool)]
    if held.empty:
        return 0.0
    kept = held["kept_bid_cpm"].fillna(held["usual_bid_cpm"]).to_numpy(float)
    before = held["step_from_cpm"].to_numpy(float)
    nearest = np.clip(kept, before * (1 - step_limit), before * (1 + step_limit))
    moved = np.abs(held["planned_bid_cpm"].to_numpy(float) - nearest)
    return float((moved / nearest)[nearest >= 10 * CENT].max(initial=0.0))


def _spreads(served: pd.DataFrame) -> tuple[float, float]:
    if served.empty:
        return 0.0, 0.0
    planned, weights = served["planned_bid_cpm"].to_numpy(float), served["requests"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.log(served["suggested_bid_cpm"].to_numpy(float) / planned)
        spread = np.sqrt(np.average((moves - np.average(moves, weights=weights)) ** 2, weights=weights))
        rounding = np.sqrt(np.average((CENT / planned) ** 2 / 12, weights=weights))
    return float(spread), float(rounding)
