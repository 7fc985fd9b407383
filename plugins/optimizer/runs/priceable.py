"""The segments of a run with every column that its bids are planned from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.pricing.bid_bounds import step_bounds
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.core.pricing.bids import BidPlan
from optimizer.core.serving.keys import segment_key
from optimizer.runs.learned import ActiveBids, Learned
from optimizer.training.job import TrainingReport

HOPELESS_LEVEL = -30.0
"""Level of a segment whose bid cannot win, logit units."""

ONE_DAY_STEP = 1.0
"""Below this daily step a run is for the next day, whose floor follows what was served before it."""

TRUST_WIDENING = {"on": 0.25, "aggressive": 0.50}


def known_segments(learned: Learned, active: ActiveBids | None) -> pd.DataFrame:
    """Return the segments with what no setting changes: keys, bids before, curves and values."""
    segments = learned.segments
    keyed = segments if "segment_key" in segments else segments.assign(segment_key=segment_keys(learned))
    compared = keyed.assign(**_bids_before(keyed, active))
    return compared.assign(**_curves(compared, learned))


def priceable_segments(known: pd.DataFrame, learned: Learned, policy: BidPolicy) -> pd.DataFrame:
    """Return the segments of `known_segments` with all that `plan_bids` needs."""
    bounded = known.assign(**_bounds(known, learned.report, policy))
    return _without_hope(bounded, step_limit=policy.step_limit, cap_cpm=policy.max_bid_cpm)


def segment_keys(learned: Learned) -> pd.Series:
    """Return the key of each segment."""
    segments, features = learned.segments, list(learned.features)
    values = segments[features].astype("object").where(segments[features].notna(), None)
    return pd.Series([segment_key(row) for row in values.itertuples(index=False, name=None)], index=segments.index)


def _bids_before(segments: pd.DataFrame, active: ActiveBids | None) -> dict[str, pd.Series]:
    """Columns of what was bid before, CPM: usually, by the active run, and where a held bid or a daily step starts."""
    keys, usual = segments["segment_key"], segments["recent_bid_cpm"]
    known = ActiveBids({}, {}, fallback_cpm=0.0) if active is None else active
    # A bid of 0 was none at all: nothing can be measured from it.
    before = keys.map(dict(known.step_from_cpm)).astype(float).fillna(known.fallback_cpm)
    return {
        "requests": segments["recent_requests"],
        "usual_bid_cpm": usual,
        "previous_bid_cpm": _known_bids(keys, known.planned_cpm),
        "kept_bid_cpm": _known_bids(keys, known.planned_cpm if known.kept_cpm is None else known.kept_cpm),
        "step_from_cpm": before.where(before > 0, usual),
    }


def _curves(segments: pd.DataFrame, learned: Learned) -> dict[str, Any]:
    """Columns of the win-rate curve, flattened by the error of its level, and of a win's value, CPM."""
    report = learned.report
    flatness = np.sqrt(1 + np.pi / 8 * segments["level_error"] ** 2)
    value_cpm = 1000 * segments["click_rate"] * report.value_per_click + report.value_per_mille_views
    return {
        "flatness": flatness,
        "level": (segments["level"] + learned.level_correction) / flatness,
        "slope": segments["slope"] / flatness,
        "value_cpm": np.where(value_cpm > 0, value_cpm, np.nan),
    }


def _bounds(segments: pd.DataFrame, report: TrainingReport, policy: BidPolicy) -> dict[str, Any]:
    """Columns of what holds a bid back: the bids that the log knows, an unknown slope, and thin evidence."""
    widening = TRUST_WIDENING["aggressive" if policy.is_aggressive else "on"]
    return {
        "trust_low_cpm": report.served_bid_low_cpm * (1 - widening),
        "trust_high_cpm": report.served_bid_high_cpm * (1 + widening),
        "is_held": report.is_held | report.is_slope_naive | ~segments["is_slope_identified"],
        "own_share": _own_share(segments),
    }


def _without_hope(segments: pd.DataFrame, *, step_limit: float, cap_cpm: float) -> pd.DataFrame:
    """The segments; a bid that the daily step or the cap keeps below a hidden floor wins nothing."""
    highest = np.minimum(step_bounds(segments["step_from_cpm"].to_numpy(float), step_limit)[1], cap_cpm)
    return segments.assign(level=segments["level"].mask(segments["hidden_floor_cpm"] > highest, HOPELESS_LEVEL))


def above_following_floor(segments: pd.DataFrame, plan: BidPlan, learned: Learned, policy: BidPolicy) -> pd.DataFrame:
    """Return the segments with the floors that will follow this plan; in daily runs also those of the bids before."""
    requests, anchor = segments["requests"], segments[learned.features[0]]

    def mean_bid(bid_cpm: pd.Series) -> pd.Series:
        mass = requests.where(bid_cpm.notna(), 0.0)
        sums = pd.DataFrame({"bid": mass * bid_cpm.fillna(0.0), "mass": mass}).groupby(anchor, dropna=False)
        total = sums.transform("sum")
        return (total["bid"] / total["mass"]).where(total["mass"] > 0, 0.0)

    followed = mean_bid(plan.table["suggested_bid_cpm"])
    if policy.step_limit < ONE_DAY_STEP:
        followed = followed.clip(lower=mean_bid(segments["step_from_cpm"]))
    floor = learned.report.following_floor_share * followed
    raised = segments.assign(hidden_floor_cpm=np.maximum(segments["hidden_floor_cpm"], floor))
    return _without_hope(raised, step_limit=policy.step_limit, cap_cpm=policy.max_bid_cpm)


def _known_bids(keys: pd.Series, bids_cpm: Mapping[str, float]) -> pd.Series:
    return keys.map({key: bid for key, bid in bids_cpm.items() if bid > 0}).astype(float)


def _own_share(segments: pd.DataFrame) -> np.ndarray:
    """Share of a segment's level that is its own evidence, 0 to 1: what its error lost against the spread of all."""
    prior = float((segments["level_shift"] ** 2 + segments["level_error"] ** 2).mean())
    return (
        (1 - segments["level_error"].to_numpy(float) ** 2 / prior).clip(0, 1) if prior > 0 else np.ones(len(segments))
    )
