"""What changed between two runs, and why: the change of each bid taken apart so that the parts add up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.pricing.bid_bounds import CENT
from optimizer.core.pricing.bid_steps import RunPricing
from optimizer.core.serving.keys import SEPARATOR, split_key

PARTS = ("level", "slope", "shadow_price", "value", "rule", "bounds")
"""Parts of the change of a planned bid, in the order in which the earlier run's inputs give way to the later one's.

level      the win rate that is expected at the earlier run's bid, level corrections included
slope      how much more is won for a higher bid
shadow_price  lambda, what one more win is worth
value      what views are worth: their value, the trust in it, the target margin
rule       how a bid follows from all these: scope, auction type, mix of multipliers, auctions without rivals
bounds     the rest: trust band, step, floors, margin, cap, round prices, exploration, holding
"""

FIGURE_SECTIONS = ("bidding", "bid_landscape", "win_rate_model", "ctr_model", "global_stats")
FIGURES = (
    "expected_win_rate",
    "target_shortfall",
    "expected_cpm",
    "expected_margin",
    "segment_scope_cpm_ratio",
    "shadow_price_cpm",
    "fallback_bid_cpm",
    "row_coverage",
    "bid_coefficient",
    "bid_coefficient_error",
    "bid_coefficient_is_naive",
    "unrivalled_share",
    "lost_share",
    "level_correction",
    "value_trust",
    "value_per_click",
    "value_per_mille_views",
    "global_win_rate",
    "global_click_rate",
    "wr_model_auc",
    "wr_model_ece",
    "trust_low_cpm",
    "trust_high_cpm",
    "jitter_sd",
)
"""Headline figures of metrics.json, in the order in which people ask for them."""

_NAMED_KEYS = 5

COMPARED_COLUMNS = (
    "segment_key",
    "bids",
    "planned_bid_cpm",
    "suggested_bid_cpm",
    "reason",
    "level",
    "slope",
    "trust_low_cpm",
    "trust_high_cpm",
    "value_cpm",
    "is_held",
)
"""Columns of suggested_bids.csv that two runs are compared by, segment by segment."""

BestResponse = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""The best bids, CPM, at (level, slope, worth of a win in CPM); arrays of one shape."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of the two runs.

    bids: its suggested_bids.csv.
    facts: headline facts in addition to the figures of metrics.json.
    config: {key: value}, what it was configured with.
    """

    run_id: str
    features: tuple[str, ...]
    bids: pd.DataFrame
    facts: Mapping[str, Any]
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    pricing: RunPricing
    best_response: BestResponse


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing of both runs; None where a run does not have it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class OneSided:
    """Segments of one run alone: how many, their share of its requests, and the largest of them."""

    segments: int
    request_share: float
    largest: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BidChange:
    """The change of a bid. `parts` (PARTS, logs) add up to log_change, that of the planned bid.

    requests: mean of both runs.
    jitter: the further change of the log suggested bid: random factor and rounding to cents.
    """

    segment_key: str
    requests: float
    planned_before_cpm: float
    planned_after_cpm: float
    suggested_before_cpm: float
    suggested_after_cpm: float
    reason_before: str
    reason_after: str
    log_change: float
    parts: dict[str, float]
    jitter: float


@dataclass(frozen=True, slots=True)
class SegmentComparison:
    """Segment by segment, for runs with the same features.

    mean_log_change, mean_parts: request-weighted over the segments of both runs; None where there are none.
    """

    segments_in_both: int
    only_before: OneSided
    only_after: OneSided
    mean_log_change: float | None
    mean_parts: dict[str, float] | None
    largest_changes: tuple[BidChange, ...]


@dataclass(frozen=True, slots=True)
class AnchorChange:
    """Request-weighted mean planned bid of an anchor value that both runs have, CPM."""

    anchor_value: str | None
    requests: float
    before_cpm: float
    after_cpm: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from one run to another.

    segments: None where the features differ, so that no segment key of one run means anything in the other.
    anchors: the largest anchor values of both; empty where the runs have different anchors.
    """

    run_before: str
    run_after: str
    figures: tuple[Difference, ...]
    config: tuple[Difference, ...]
    features_gone: tuple[str, ...]
    features_new: tuple[str, ...]
    has_same_keys: bool
    segments: SegmentComparison | None
    anchors: tuple[AnchorChange, ...]


def compare_runs(before: ComparedRun, after: ComparedRun, *, top: int) -> Comparison:
    """Return what changed and why.

    Args:
        top: how many segments and anchor values are shown one by one.
    """
    has_same_keys = before.features == after.features
    return Comparison(
        run_before=before.run_id,
        run_after=after.run_id,
        figures=_figures(before, after),
        config=_differences(before.config, after.config),
        features_gone=tuple(feature for feature in before.features if feature not in after.features),
        features_new=tuple(feature for feature in after.features if feature not in before.features),
        has_same_keys=has_same_keys,
        segments=_compare_segments(before, after, top) if has_same_keys else None,
        anchors=_compare_anchors(before, after, top) if before.features[0] == after.features[0] else (),
    )


def attribute_changes(rows: pd.DataFrame, *, before: ComparedRun, after: ComparedRun) -> pd.DataFrame:
    """Return the parts of the change of each log planned bid, a column each of PARTS; they add up exactly.

    The earlier run's inputs give way to the later one's one after the other, in the order of PARTS, and the best bid is
    computed again each time. Two runs may measure levels at different reference bids, and a level turns with the slope,
    so the curve is moved and turned at the earlier run's planned bid. What happens to best bids beyond both runs' trust
    bands could never be bid, and counts nothing; neither does it where both runs hold the bid.

    Args:
        rows: one segment a row, with the columns of suggested_bids.csv as `<column>_before` and `<column>_after`.
    """
    pivot = np.log(rows["planned_bid_cpm_before"].to_numpy(float))
    levels, slopes, lows, highs = (
        [rows[f"{column}_{side}"].to_numpy(float) for side in ("before", "after")]
        for column in ("level", "slope", "trust_low_cpm", "trust_high_cpm")
    )
    to_pivot = [pivot - np.log(run.pricing.reference_cpm) for run in (before, after)]
    at_pivot = [levels[run] + slopes[run] * to_pivot[run] for run in (0, 1)]
    lowest, highest = np.maximum(np.minimum(*lows), CENT), np.maximum(*highs)
    own = [_own_worth(rows[f"value_cpm_{side}"], run) for side, run in (("before", before), ("after", after))]
    price = [run.pricing.shadow_price_cpm for run in (before, after)]
    # Where each segment reaches the target on its own, the shadow price is 0: then the price belongs to the rule.
    scopes = {run.pricing.settings.win_rate_scope for run in (before, after)}

    def log_best(level: int, slope: int, shadow_price: int, value: int, rule: int) -> np.ndarray:
        """The log of the best bid with each input of the earlier (0) or later (1) run."""
        run = (before, after)[rule]
        at_reference = at_pivot[level] - slopes[slope] * to_pivot[rule]
        worth = own[value] + price[shadow_price if len(scopes) == 1 else rule]
        bid = run.best_response(at_reference, slopes[slope], worth)
        return np.log(np.clip(bid, lowest, highest))

    inputs = len(PARTS) - 1
    chain = np.array([log_best(*([1] * swapped + [0] * (inputs - swapped))) for swapped in range(inputs + 1)])
    chain[:, (rows["is_held_before"] & rows["is_held_after"]).to_numpy(bool)] = 0.0
    parts = pd.DataFrame(np.diff(chain, axis=0).T, columns=list(PARTS[:-1]), index=rows.index)
    return parts.assign(bounds=_log_change(rows, "planned_bid_cpm") - (chain[-1] - chain[0]))


def _own_worth(value_cpm: pd.Series, run: ComparedRun) -> np.ndarray:
    share = run.pricing.value_trust * (1 - run.pricing.settings.target_margin)
    return share * np.nan_to_num(value_cpm.to_numpy(float), nan=0.0)


def _log_change(rows: pd.DataFrame, column: str) -> np.ndarray:
    return np.log(rows[f"{column}_after"].to_numpy(float)) - np.log(rows[f"{column}_before"].to_numpy(float))


def _compare_segments(before: ComparedRun, after: ComparedRun, top: int) -> SegmentComparison:
    first, second = (_with_bids(run)[list(COMPARED_COLUMNS)] for run in (before, after))
    rows = first.merge(second, on="segment_key", suffixes=("_before", "_after"), validate="one_to_one")
    only_before, only_after = _one_sided(first, second), _one_sided(second, first)
    if rows.empty:
        return SegmentComparison(0, only_before, only_after, None, None, ())
    parts = attribute_changes(rows, before=before, after=after)
    change = _log_change(rows, "planned_bid_cpm")
    jitter = _log_change(rows, "suggested_bid_cpm") - change
    requests = (rows["bids_before"] + rows["bids_after"]).to_numpy(float) / 2
    largest = np.argsort(-requests * np.abs(change), kind="stable")[:top]
    return SegmentComparison(
        segments_in_both=len(rows),
        only_before=only_before,
        only_after=only_after,
        mean_log_change=float(np.average(change, weights=requests)),
        mean_parts={part: float(np.average(parts[part], weights=requests)) for part in PARTS},
        largest_changes=tuple(
            _bid_change(rows.iloc[i], parts.iloc[i], requests[i], change[i], jitter[i]) for i in largest
        ),
    )


def _bid_change(row: pd.Series, parts: pd.Series, requests: float, change: float, jitter: float) -> BidChange:
    bids = {
        f"{kind}_{side}_cpm": float(row[f"{kind}_bid_cpm_{side}"])
        for kind in ("planned", "suggested")
        for side in ("before", "after")
    }
    return BidChange(
        segment_key=row["segment_key"],
        requests=float(requests),
        **bids,
        reason_before=row["reason_before"],
        reason_after=row["reason_after"],
        log_change=float(change),
        parts={part: float(parts[part]) for part in PARTS},
        jitter=float(jitter),
    )


def _with_bids(run: ComparedRun) -> pd.DataFrame:
    return run.bids[run.bids["planned_bid_cpm"].notna()]


def _one_sided(bids: pd.DataFrame, others: pd.DataFrame) -> OneSided:
    known = set(others["segment_key"].tolist())
    is_alone = np.array([key not in known for key in bids["segment_key"].tolist()], dtype=bool)
    alone = bids[is_alone].sort_values("bids", ascending=False, kind="stable")
    total = bids["bids"].sum()
    share = float(alone["bids"].sum() / total) if total else 0.0
    return OneSided(len(alone), share, tuple(alone["segment_key"].head(_NAMED_KEYS)))


def _compare_anchors(before: ComparedRun, after: ComparedRun, top: int) -> tuple[AnchorChange, ...]:
    means = _anchor_means(before).merge(
        _anchor_means(after), left_index=True, right_index=True, suffixes=("_before", "_after")
    )
    means["requests"] = (means["bids_before"] + means["bids_after"]) / 2
    largest = means.sort_values("requests", ascending=False, kind="stable").head(top)
    return tuple(
        AnchorChange(
            split_key(str(key))[0], float(row["requests"]), float(row["mean_before"]), float(row["mean_after"])
        )
        for key, row in largest.iterrows()
    )


def _anchor_means(run: ComparedRun) -> pd.DataFrame:
    """Requests and request-weighted mean planned bid by the first part of the key."""
    bids = _with_bids(run)
    weighed = pd.DataFrame({"bids": bids["bids"], "mean": bids["bids"] * bids["planned_bid_cpm"]})
    keys = bids["segment_key"].tolist()
    anchors = pd.Series([key.partition(SEPARATOR)[0] for key in keys], index=bids.index, dtype="str")
    sums = weighed.groupby(anchors, sort=True).sum()
    return sums.assign(mean=sums["mean"] / sums["bids"])


def _figures(before: ComparedRun, after: ComparedRun) -> tuple[Difference, ...]:
    names = dict.fromkeys([*before.facts, *after.facts])
    facts = tuple(Difference(name, before.facts.get(name), after.facts.get(name)) for name in names)
    figures = (
        Difference(name, find_figure(before.metrics, name), find_figure(after.metrics, name)) for name in FIGURES
    )
    return facts + tuple(item for item in figures if (item.before, item.after) != (None, None))


def find_figure(metrics: Mapping[str, Any], name: str) -> Any:
    """Return a figure of metrics.json by its name, or None where the run has none."""
    sections = (metrics.get(section, {}) for section in FIGURE_SECTIONS)
    return next((figures[name] for figures in sections if name in figures), None)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    keys = sorted(set(before) | set(after))
    pairs = (Difference(key, before.get(key), after.get(key)) for key in keys)
    return tuple(pair for pair in pairs if pair.before != pair.after)
