"""Which features make up a segment: signal scores and a greedy choice by what helps on later days."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit, logit
from scipy.stats import t as student_t

from optimizer.core.cells import MISSING, split_by_time
from optimizer.core.shrinkage import between_group_variance, posterior_shifts
from optimizer.core.slope import find_slope, randomised_rows
from optimizer.errors import DataError

NEARLY_CONSTANT = 0.995
"""A feature whose commonest value has more than this share of the bids says nothing."""

LEAST_LATER_DAYS = 3
"""With fewer later days no gain is certain."""

ONE_SIDED_95 = 1.645


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
    gain, gain_lower: fall of the Brier score on later days when the feature joins, x 1e4, and its lower 95 % bound.
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


def select_features(cells: pd.DataFrame, *, candidates: Sequence[str], limits: SelectionLimits) -> Selection:
    """Return the anchor and, greedily, the features that lower the error on later days most.

    Raises:
        DataError: the anchor is no candidate of this log.
    """
    if limits.anchor_feature not in candidates:
        raise DataError(
            f"anchor_feature={limits.anchor_feature!r} is not a candidate feature; set it to one of "
            f"{', '.join(sorted(candidates))}, or give it an active row in opt_feature_macros"
        )
    priced = remove_price(cells, slope=_identified_slope(cells, candidates))
    signal = {feature: signal_score(priced, feature) for feature in candidates}
    selected, notes, gains = [limits.anchor_feature], {}, {}
    halves = _Halves.of(priced)
    before = halves.join(halves.by_price, selected)
    while len(selected) < limits.max_features:
        rivals = {}
        for feature in candidates:
            if feature in selected:
                continue
            notes[feature] = _limit_broken(priced, [*selected, feature], limits)
            after = halves.join(before, [*selected, feature])
            gains[feature] = halves.gain(before, after, rivals=len(candidates) - len(selected))
            if notes[feature] is None and gains[feature][1] > 0:
                rivals[feature] = after
        if not rivals:
            break
        best = max(rivals, key=lambda feature: gains[feature][0])
        selected, before = [*selected, best], rivals[best]
    return Selection(
        tuple(selected),
        tuple(_score(f, selected, signal, gains, notes, limits) for f in _ranked(candidates, selected, signal)),
    )


def remove_price(cells: pd.DataFrame, *, slope: float | None = None) -> pd.DataFrame:
    """Return the cells with `expected`, the win rate that the price alone explains.

    Args:
        slope: logit units per unit of log bid, where it was identified. Without one the curve is isotonic regression of
            won on bid, the maximum likelihood of current-status data (Groeneboom and Wellner), which takes the
            habits of earlier bidding for effects of the price.
    """
    if slope is not None:
        price = slope * (cells["log_bid"].to_numpy(float) - cells["log_bid"].mean())
        wins, bids = cells["wins"].to_numpy(float), cells["bids"].to_numpy(float)
        won = np.clip(wins.sum(), 0.5, bids.sum() - 0.5) if bids.sum() > 1 else 0.5 * bids.sum()
        level = brentq(lambda level: (bids * expit(level + price)).sum() - won, -50, 50)
        return cells.assign(expected=np.clip(expit(level + price), 1e-4, 1 - 1e-4))
    by_price = cells.groupby("price_bucket", sort=True)[["bids", "wins"]].sum()
    fitted = isotonic_regression(by_price["wins"] / by_price["bids"], weights=by_price["bids"]).x
    expected = pd.Series(np.clip(fitted, 1e-4, 1 - 1e-4), index=by_price.index)
    return cells.assign(expected=cells["price_bucket"].map(expected).astype(float))


def signal_score(priced: pd.DataFrame, feature: str) -> float:
    """Return how much the win rate at equal price truly differs between values: 1e4 tau2 (1 - null share)."""
    effects, weights = _group_effects(priced, priced["expected"], [feature])
    null_share = priced.loc[priced[feature] == MISSING, "bids"].sum() / priced["bids"].sum()
    return 1e4 * between_group_variance(effects.to_numpy(), weights.to_numpy()) * (1.0 - float(null_share))


@dataclass(frozen=True, slots=True)
class _Forecast:
    """Logits of the win rates that a key tells of the earlier cells, which it learns from, and of the later ones."""

    earlier: np.ndarray
    later: np.ndarray


@dataclass(frozen=True, slots=True)
class _Halves:
    """The first 40 % and the last 30 % of the days, for all features to be tried on; `both` has the rows of both.

    What is learned on the earlier and holds on the later days has lasted over those between.
    """

    earlier: pd.DataFrame
    later: pd.DataFrame
    both: pd.DataFrame

    @classmethod
    def of(cls, priced: pd.DataFrame) -> "_Halves":
        earlier, _, later = split_by_time(priced, share=0.3).slices(priced)
        return cls(earlier, later, pd.concat([earlier, later]))

    @property
    def by_price(self) -> _Forecast:
        return _Forecast(*(logit(half["expected"].to_numpy(float)) for half in (self.earlier, self.later)))

    def join(self, before: _Forecast, features: Sequence[str]) -> _Forecast:
        """Return the forecast with the shrunk shift of each value of this key, one feature longer than the last."""
        group = self.both.groupby(list(features), observed=True).ngroup().to_numpy()
        learned, told = group[: len(self.earlier)], group[len(self.earlier) :]
        wins, bids = self.earlier["wins"].to_numpy(float), self.earlier["bids"].to_numpy(float)
        shift, _ = posterior_shifts(before.earlier, wins=wins, bids=bids, group=learned, size=int(group.max()) + 1)
        return _Forecast(before.earlier + shift[learned], before.later + shift[told])

    def gain(self, before: _Forecast, after: _Forecast, *, rivals: int) -> tuple[float, float]:
        """Return the mean fall of the Brier score on later days to the next forecast, and its lower bound; x 1e4.

        The bound is one-sided, of a t distribution over days, at 95 % for all rivals together (Bonferroni): the best of
        many candidates looks good by chance.
        """
        bids, wins = self.later["bids"].to_numpy(float), self.later["wins"].to_numpy(float)
        old, new = expit(before.later), expit(after.later)
        fall = bids * (old**2 - new**2) - 2 * wins * (old - new)
        days = pd.DataFrame({"day": self.later["day"], "fall": fall, "bids": bids}).groupby("day").sum()
        gain = days["fall"].sum() / days["bids"].sum()
        spread = days["fall"] - gain * days["bids"]
        error = np.sqrt((spread**2).sum() * len(days) / max(1, len(days) - 1)) / days["bids"].sum()
        if len(days) < LEAST_LATER_DAYS:
            return 1e4 * float(gain), -np.inf
        quantile = student_t.ppf(1 - 0.05 / rivals, max(1, len(days) - 1))
        return 1e4 * float(gain), 1e4 * float(gain - quantile * error)


def _group_effects(cells: pd.DataFrame, expected: pd.Series, by: Sequence[str]) -> tuple[pd.Series, pd.Series]:
    sums = (
        pd.DataFrame(
            {
                "residual": cells["wins"] - cells["bids"] * expected,
                "variance": cells["bids"] * expected * (1 - expected),
            }
        )
        .join(cells[[*by, "bids"]])
        .groupby(list(by), observed=True)[["residual", "variance", "bids"]]
        .sum()
    )
    return sums["residual"] / sums["bids"], sums["bids"] ** 2 / sums["variance"]


def _identified_slope(cells: pd.DataFrame, candidates: Sequence[str]) -> float | None:
    rows = randomised_rows(cells)
    group = rows.groupby(list(candidates), observed=True).ngroup().to_numpy()
    slope = find_slope(rows, group)
    return slope.value if slope is not None and slope.is_identified else None


def _limit_broken(cells: pd.DataFrame, features: list[str], limits: SelectionLimits) -> str | None:
    joined = features[-1]
    total = cells["bids"].sum()
    if cells.groupby(joined, observed=True)["bids"].sum().max() > NEARLY_CONSTANT * total:
        return "nearly constant"
    bids = cells.groupby(features, observed=True)["bids"].sum()
    if len(bids) > limits.max_segments:
        return f"{len(bids)} segments are more than max_segments={limits.max_segments}"
    share = bids[bids >= limits.min_segment_bids].sum() / total
    if share < limits.min_evidence_share:
        return (
            f"only {share:.0%} of bids in segments with evidence, under min_evidence_share={limits.min_evidence_share}"
        )
    return None


def _ranked(candidates: Sequence[str], selected: list[str], signal: dict[str, float]) -> list[str]:
    return selected + sorted((f for f in candidates if f not in selected), key=lambda f: (-signal[f], f))


def _score(
    feature: str,
    selected: list[str],
    signal: dict[str, float],
    gains: dict[str, tuple[float, float]],
    notes: dict[str, str | None],
    limits: SelectionLimits,
) -> FeatureScore:
    gain, lower = gains.get(feature, (None, None))
    is_anchor, is_selected = feature == selected[0], feature in selected
    if is_anchor:
        reason = "anchor"
    elif is_selected:
        reason = "lowers the error on later days"
    elif len(selected) >= limits.max_features and feature not in notes:
        reason = f"max_features={limits.max_features} reached"
    else:
        reason = notes.get(feature) or (
            f"max_features={limits.max_features} reached"
            if lower is not None and lower > 0
            else "no gain on later days"
        )
    return FeatureScore(feature, None if is_anchor else signal[feature], gain, lower, is_selected, is_anchor, reason)
