"""Which features make up a segment: signal scores and a greedy choice by what helps on unseen days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from optimizer.core.landscape.feature_signal import remove_price, signal_score
from optimizer.core.landscape.feature_trial import FeatureTrial
from optimizer.core.landscape.slope import find_slope, randomised_rows
from optimizer.errors import DataError

NEARLY_CONSTANT = 0.995
"""A feature whose commonest value has more than this share of the bids says nothing."""

LEAST_SHARE_EXPLAINED = 0.0005
"""A feature must reduce the Brier score by this share of the variance of won or lost: about as much as a win rate of .3
that differs by .01 between values. Smaller gains are what the shrunk effects of a chosen feature leave over, and they
show in any feature that is correlated with it.
"""

TYPICAL_SLOPE = 2.0
"""Logit units per unit of log bid in real and simulated markets (1 to 4). A feature must help with the price removed by
this slope too where the log identifies none: bids that an earlier run set by a feature make the feature look real.
"""


@dataclass(frozen=True, slots=True)
class SelectionLimits:
    """Bounds of the choice; see the config keys of the same names."""

    anchor_feature: str
    max_features: int
    max_segments: int
    min_segment_bids: int
    min_evidence_share: float


@dataclass(frozen=True, slots=True)
class FeatureScore:
    """What is known of one candidate, and why it was taken or left.

    signal_score: 1e4 x between-value variance of the win rate at equal price x (1 - null share); None for an anchor.
    gain, gain_lower: drop in the Brier score on unseen days when the feature joins, x 1e4, and its lower bound
        (`FALSE_CHOICE_RATE`); None where a limit rules the feature out.
    """

    feature_name: str
    signal_score: float | None
    gain: float | None
    gain_lower: float | None
    is_selected: bool
    is_anchor: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The features of the run's segments, in key order, and the score of every candidate."""

    features: tuple[str, ...]
    scores: tuple[FeatureScore, ...]


def select_features(
    cells: pd.DataFrame, *, candidates: Sequence[str], limits: SelectionLimits, held_key: Sequence[str] = ()
) -> Selection:
    """Return the anchor and, greedily, the features that reduce the error on unseen days most.

    A candidate that is not chosen changes nothing: neither how the price is removed nor what is required of the others.

    Args:
        held_key: features that the logged bids depend on, where these bids are held: they join first, as far as
            max_features and max_segments allow, so that every request keeps the bid it had.

    Raises:
        DataError: the anchor is not a candidate of this log.
    """
    if limits.anchor_feature not in candidates:
        raise DataError(
            f"anchor_feature={limits.anchor_feature!r} is not a candidate feature; set it to one of "
            f"{', '.join(sorted(candidates))}, or give it an active row in opt_feature_macros"
        )
    slope = _identified_slope(cells, limits.anchor_feature)
    prices = [remove_price(cells, slope=slope)]
    signal = {feature: signal_score(prices[0], feature) for feature in candidates}
    if slope is None:
        prices.append(remove_price(cells, slope=TYPICAL_SLOPE))
    search = _Search.start(cells, prices, candidates=candidates, limits=limits)
    for feature in held_key:
        search.hold(feature)
    while len(search.selected) < limits.max_features and search.add_best():
        pass
    ranked = _ranked(candidates, search.selected, signal)
    return Selection(tuple(search.selected), tuple(search.score(feature, signal=signal) for feature in ranked))


@dataclass(slots=True)
class _Search:
    """A greedy search: the features chosen so far, and what is known of the others.

    trials, forecasts: one for each way in which the price is removed. gains, notes: by feature, of the latest round.
    """

    candidates: Sequence[str]
    limits: SelectionLimits
    trials: list[FeatureTrial]
    forecasts: list[np.ndarray]
    least_gain: float
    selected: list[str]
    notes: dict[str, str | None] = field(default_factory=dict)
    gains: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        cells: pd.DataFrame,
        prices: Sequence[pd.DataFrame],
        *,
        candidates: Sequence[str],
        limits: SelectionLimits,
    ) -> "_Search":
        trials = [FeatureTrial.of(priced, anchor=limits.anchor_feature, candidates=candidates) for priced in prices]
        win_rate = cells["wins"].sum() / cells["bids"].sum()
        least_gain = 1e4 * LEAST_SHARE_EXPLAINED * win_rate * (1 - win_rate)
        forecasts = [trial.start() for trial in trials]
        return cls(candidates, limits, trials, forecasts, least_gain, [limits.anchor_feature])

    def hold(self, feature: str) -> None:
        """Choose a feature that held bids depend on, if it is a candidate and the limits allow it."""
        longer = [*self.selected, feature]
        is_open = feature not in self.selected and len(self.selected) < self.limits.max_features
        if not is_open or feature not in self.candidates:
            return
        groups = self.trials[0].groups(longer)
        if groups[-1].max() < self.limits.max_segments:
            self.selected, self.forecasts = longer, self._join(groups)
            self.notes[feature] = "the logged bids depend on it, and they are held"

    def add_best(self) -> bool:
        """Choose the feature that gains most; False where none gains enough."""
        rivals = {}
        for feature in self.candidates:
            if feature in self.selected:
                continue
            groups = self.trials[0].groups([*self.selected, feature])
            bids_of_value, bids_of_segment = (np.bincount(group, self.trials[0].bids) for group in groups)
            self.notes[feature] = _limit_broken(bids_of_value, bids_of_segment, self.limits)
            if self.notes[feature] is not None:
                self.gains.pop(feature, None)
                continue
            joined = self._join(groups)
            found = [trial.gain(*pair) for trial, *pair in zip(self.trials, self.forecasts, joined, strict=True)]
            self.gains[feature] = min(found, key=lambda gain: gain[1])
            if self.gains[feature][1] > 0 and self.gains[feature][0] > self.least_gain:
                rivals[feature] = joined
        if not rivals:
            return False
        best = max(rivals, key=lambda feature: self.gains[feature][0])
        self.selected, self.forecasts = [*self.selected, best], rivals[best]
        return True

    def score(self, feature: str, *, signal: Mapping[str, float]) -> FeatureScore:
        """Return what is known of a candidate, and why it was chosen or not."""
        gain, lower = self.gains.get(feature, (None, None))
        note = self.notes.get(feature)
        is_anchor, is_selected = feature == self.selected[0], feature in self.selected
        if is_anchor:
            reason = "anchor"
        elif is_selected:
            reason = note or "reduces the error on unseen days"
        elif note is not None:
            reason = note
        elif lower is not None and lower <= 0:
            reason = "no certain gain on unseen days"
        elif gain is not None and gain <= self.least_gain:
            reason = "its gain is too small to matter"
        else:
            reason = f"max_features={self.limits.max_features} reached"
        own_signal = None if is_anchor else signal[feature]
        return FeatureScore(feature, own_signal, gain, lower, is_selected, is_anchor, reason)

    def _join(self, groups: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [trial.join(old, groups) for trial, old in zip(self.trials, self.forecasts, strict=True)]


def _identified_slope(cells: pd.DataFrame, anchor: str) -> float | None:
    """The slope from random variation around known planned bids; it depends on no feature but the anchor."""
    rows = randomised_rows(cells)
    slope = find_slope(rows, pd.factorize(rows[anchor])[0])
    return slope.value if slope is not None and slope.is_identified else None


def _limit_broken(bids_of_value: np.ndarray, bids_of_segment: np.ndarray, limits: SelectionLimits) -> str | None:
    total = bids_of_segment.sum()
    if bids_of_value.max() > NEARLY_CONSTANT * total:
        return "nearly constant"
    if len(bids_of_segment) > limits.max_segments:
        return f"{len(bids_of_segment)} segments are more than max_segments={limits.max_segments}"
    share = bids_of_segment[bids_of_segment >= limits.min_segment_bids].sum() / total
    if share < limits.min_evidence_share:
        return (
            f"only {share:.0%} of bids in segments with evidence, under min_evidence_share={limits.min_evidence_share}"
        )
    return None


def _ranked(candidates: Sequence[str], selected: list[str], signal: dict[str, float]) -> list[str]:
    return selected + sorted((f for f in candidates if f not in selected), key=lambda f: (-signal[f], f))
