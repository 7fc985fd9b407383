"""How the bids that bidders find changed from one run to the next: by how much, why, and what it costs a day."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_bounds import BOUNDS, CENT
from optimizer.core.pricing.run_comparison import COMPARED_COLUMNS, PARTS, ComparedRun, attribute_changes

BOUND_REASONS = (*BOUNDS, "round_price", "exploration", "held")
"""Reasons of a bid that can be the cause of its change: what bounds it now, or did before."""

CAUSES = {
    "learned": "the log of the latest days shows another win rate, or another slope",
    "target": "a win counts more or less on the way to the target: another shadow price",
    "value": "views are worth more or less, or the target margin changed",
    "rule": "the rule of the bids changed: scope, auction type or multipliers",
    "jitter": "the random factor, drawn again by each run",
    "bounds": "other bounds",
    "new_segment": "the live run has no bid of its own for it and serves its fallback",
    "bid_again": "the live run does not bid on it",
    "no_bid": "nothing is left between its floor and what margin and cap allow",
}
"""Cause of a change that is not a reason of `BOUND_REASONS`: what it means."""

_CAUSE_OF_PART = {
    "level": "learned",
    "slope": "learned",
    "shadow_price": "target",
    "value": "value",
    "rule": "rule",
    "bounds": "bounds",
    "jitter": "jitter",
}
_LEAST_CHANGE = CENT / 2


@dataclass(frozen=True, slots=True)
class ServedBids:
    """What bidders find of a run, CPM.

    bids_cpm: by segment key; 0 says not to bid. fallback_cpm: the bid on every other key.
    """

    bids_cpm: Mapping[str, float]
    fallback_cpm: float

    def on(self, keys: pd.Series) -> np.ndarray:
        """Return the served bid of each key, 0 where none."""
        return keys.map(dict(self.bids_cpm)).astype(float).fillna(self.fallback_cpm).to_numpy(float)


def served_changes(
    before: ComparedRun, after: ComparedRun, *, served_before: ServedBids, landscape: Landscape
) -> pd.DataFrame:
    """Return the segments of the later run whose served bid changed, those with most money at stake first.

    Args:
        before, after: runs with the same features; the later one's table has a row for each segment that it does not
            bid on too, whose planned_bid_cpm and suggested_bid_cpm are NaN.
        landscape: the later run's curves. What either bid wins and costs is read from them.

    Returns:
        segment_key, requests (a day), before_cpm and after_cpm (served, 0: no bid), spend_change (currency units a
        day), reason (of the bid now) and cause (a key of CAUSES or one of BOUND_REASONS: the part of the change that
        moved the bid furthest in its direction).
    """
    rows = after.bids
    old, new = served_before.on(rows["segment_key"]), rows["suggested_bid_cpm"].fillna(0.0).to_numpy(float)
    is_second_price = after.pricing.settings.auction_type == "second_price"
    spend = [_spend(rows, bid, landscape, is_second_price=is_second_price) for bid in (old, new)]
    table = pd.DataFrame(
        {
            "segment_key": rows["segment_key"].to_numpy(),
            "requests": rows["requests"].to_numpy(float),
            "before_cpm": old,
            "after_cpm": new,
            "spend_change": spend[1] - spend[0],
            "reason": rows["reason"].to_numpy(),
        }
    )
    changed = table[np.abs(new - old) >= _LEAST_CHANGE]
    changed = changed.assign(cause=_causes(changed, before, after))
    order = changed["spend_change"].abs().sort_values(ascending=False, kind="stable").index
    return changed.loc[order].reset_index(drop=True)


def _spend(rows: pd.DataFrame, bid: np.ndarray, landscape: Landscape, *, is_second_price: bool) -> np.ndarray:
    """Spend a day at these bids; one below a hidden floor wins nothing."""
    level, slope, hidden = (rows[name].to_numpy(float) for name in ("level", "slope", "hidden_floor_cpm"))
    at = np.maximum(bid, CENT)
    price = landscape.mean_price(level, slope, at) if is_second_price else at
    wins = np.where((bid > 0) & (bid >= hidden), landscape.win_rate(level, slope, at), 0.0)
    return np.asarray(rows["requests"].to_numpy(float) * wins * price / 1000)


def _causes(changed: pd.DataFrame, before: ComparedRun, after: ComparedRun) -> pd.Series:
    """The cause of each change, by the index of the changes."""
    plain = np.select(
        [changed["after_cpm"] == 0, changed["before_cpm"] == 0], ["no_bid", "bid_again"], default="new_segment"
    )
    causes = pd.Series(plain, index=changed.index, dtype=object)
    known, present = (
        run.bids.loc[run.bids["planned_bid_cpm"].notna(), list(COMPARED_COLUMNS)] for run in (before, after)
    )
    compared = changed[["segment_key"]].reset_index().merge(present, on="segment_key")
    pairs = known.merge(compared, on="segment_key", suffixes=("_before", "_after")).set_index("index")
    if len(pairs):
        causes[pairs.index] = _largest_parts(pairs, before, after)
    return causes


def _largest_parts(pairs: pd.DataFrame, before: ComparedRun, after: ComparedRun) -> np.ndarray:
    parts = attribute_changes(pairs, before=before, after=after)
    served, planned = (
        np.log(pairs[f"{kind}_bid_cpm_after"] / pairs[f"{kind}_bid_cpm_before"]) for kind in ("suggested", "planned")
    )
    parts = parts.assign(jitter=served - planned)[[*PARTS, "jitter"]]
    furthest = parts.mul(np.sign(served), axis=0).idxmax(axis=1).map(_CAUSE_OF_PART)
    bound = pairs["reason_after"].where(pairs["reason_after"].isin(BOUND_REASONS), pairs["reason_before"])
    is_bound = (furthest == "bounds") & bound.isin(BOUND_REASONS)
    return furthest.mask(is_bound, bound).to_numpy(object)
