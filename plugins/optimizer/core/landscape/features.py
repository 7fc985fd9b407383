"""Which features make up a segment: signal scores and a greedy choice by what helps on unseen days."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit, logit
from scipy.stats import t as student_t

from optimizer.core.landscape.cells import MISSING, PRICE_BUCKET_WIDTH
from optimizer.core.landscape.shrinkage import between_group_variance, posterior_shifts
from optimizer.core.landscape.slope import find_slope, randomised_rows
from optimizer.errors import DataError

NEARLY_CONSTANT = 0.995
"""A feature whose commonest value has more than this share of the bids says nothing."""

FOLDS = 5
"""Each fifth of the window's time is predicted from the other four."""

LEAST_BLOCKS = 6
"""With fewer blocks of time no gain is certain."""

FALSE_CHOICE_RATE = 0.01
COUNTED_CANDIDATES = 20
"""The rate of false choices holds for this many candidates together, or for all where there are more (Bonferroni).
Below that the number of candidates does not matter: one more column does not change whether another is chosen.
"""

LEAST_SHARE_EXPLAINED = 0.0005
"""A feature must reduce the Brier score by this share of the variance of won or lost: about as much as a win rate of .3
that differs by .01 between values. Smaller gains are what the shrunk effects of a chosen feature leave over, and they
show in any feature that is correlated with it.
"""

TYPICAL_SLOPE = 2.0
"""Logit units per unit of log bid in real and simulated markets (1 to 4). A feature must help with the price removed by
this slope too where the log identifies none: bids that an earlier run set by a feature make the feature look real.
"""

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
    trials = [_Trial.of(priced, anchor=limits.anchor_feature, candidates=candidates) for priced in prices]
    forecasts = [trial.start() for trial in trials]
    win_rate = cells["wins"].sum() / cells["bids"].sum()
    least_gain = 1e4 * LEAST_SHARE_EXPLAINED * win_rate * (1 - win_rate)
    selected = [limits.anchor_feature]
    notes: dict[str, str | None] = {}
    gains: dict[str, tuple[float, float]] = {}
    for feature in held_key:
        longer = [*selected, feature]
        is_new = feature in candidates and feature not in selected and len(selected) < limits.max_features
        if is_new and cells.groupby(longer, observed=True).ngroups <= limits.max_segments:
            forecasts = [trial.join(old, longer) for trial, old in zip(trials, forecasts, strict=True)]
            selected, notes[feature] = longer, "the logged bids depend on it, and they are held"
    while len(selected) < limits.max_features:
        rivals = {}
        for feature in candidates:
            if feature in selected:
                continue
            notes[feature] = _limit_broken(cells, [*selected, feature], limits)
            if notes[feature] is not None:
                gains.pop(feature, None)
                continue
            joined = [trial.join(old, [*selected, feature]) for trial, old in zip(trials, forecasts, strict=True)]
            found = [trial.gain(*pair) for trial, *pair in zip(trials, forecasts, joined, strict=True)]
            gains[feature] = min(found, key=lambda gain: gain[1])
            if gains[feature][1] > 0 and gains[feature][0] > least_gain:
                rivals[feature] = joined
        if not rivals:
            break
        best = max(rivals, key=lambda feature: gains[feature][0])
        selected, forecasts = [*selected, best], rivals[best]
    return Selection(
        tuple(selected),
        tuple(
            _score(f, selected, signal, gains, notes, limits, least_gain) for f in _ranked(candidates, selected, signal)
        ),
    )


def remove_price(cells: pd.DataFrame, *, slope: float | None = None) -> pd.DataFrame:
    """Return the cells with `expected`, the win rate that the price alone explains.

    Args:
        slope: logit units per unit of log bid, where it was identified. Without one the curve is isotonic regression of
            won on bid, the maximum likelihood of current-status data (Groeneboom and Wellner), which mistakes the
            habits of earlier bidding for effects of the price.
    """
    if slope is not None:
        log_bid = PRICE_BUCKET_WIDTH * cells["price_bucket"].to_numpy(float)
        price = slope * (log_bid - np.average(log_bid, weights=cells["bids"]))
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
    effects, weights = _group_effects(priced, feature)
    null_share = priced.loc[priced[feature] == MISSING, "bids"].sum() / priced["bids"].sum()
    return 1e4 * between_group_variance(effects, weights) * (1.0 - float(null_share))


@dataclass(frozen=True, slots=True)
class _Trial:
    """Cells as arrays, shape (n_cells,), on which features are tried.

    values: the code of each candidate's value; fold, block: which part of the window, in the order of time.
    market: the anchor value and day, whose level is the market's and no feature's.
    """

    values: dict[str, np.ndarray]
    fold: np.ndarray
    block: np.ndarray
    market: np.ndarray
    bids: np.ndarray
    wins: np.ndarray
    by_price: np.ndarray
    level: float

    @classmethod
    def of(cls, priced: pd.DataFrame, *, anchor: str, candidates: Sequence[str]) -> "_Trial":
        values = {feature: pd.factorize(priced[feature])[0] for feature in candidates}
        block, blocks = pd.factorize(priced["block"], sort=True)
        return cls(
            values=values,
            fold=block * min(FOLDS, len(blocks)) // len(blocks),
            block=block,
            market=_number([values[anchor], pd.factorize(priced["day"])[0]]),
            bids=priced["bids"].to_numpy(float),
            wins=priced["wins"].to_numpy(float),
            by_price=logit(priced["expected"].to_numpy(float)),
            level=FALSE_CHOICE_RATE / max(COUNTED_CANDIDATES, len(candidates)),
        )

    def start(self) -> np.ndarray:
        """Return the logit of each cell's win rate by its price and by the level of its anchor value on that day."""
        size = int(self.market.max()) + 1
        shift, _ = posterior_shifts(self.by_price, wins=self.wins, bids=self.bids, group=self.market, size=size)
        return self.by_price + shift[self.market]

    def join(self, before: np.ndarray, features: Sequence[str]) -> np.ndarray:
        """Return the forecast with the effects of the last feature: of its values everywhere, then within each key."""
        return self._add_effects(self._add_effects(before, features[-1:]), features)

    def _add_effects(self, before: np.ndarray, features: Sequence[str]) -> np.ndarray:
        """Return the forecast with the shrunk effect of each combination of values, learned on the other folds.

        Effects are taken within an anchor value and day: what moves the whole market, as a trend does, is not an effect
        of a feature whose mix moves with it.
        """
        group = _number([self.values[feature] for feature in features])
        shape = (int(group.max()) + 1, int(self.fold.max()) + 1)
        cell = np.ravel_multi_index((group, self.fold), shape)
        rate = expit(before)
        variance = self.bids * rate * (1 - rate)
        residual, information = (
            np.bincount(cell, column, minlength=shape[0] * shape[1]).reshape(shape)
            for column in (self.wins - self.bids * rate, variance)
        )
        shift = _effects_of_other_folds(residual, information).ravel()[cell]
        size = int(self.market.max()) + 1
        mass = np.bincount(self.market, variance, minlength=size)
        common = np.bincount(self.market, variance * shift, minlength=size) / np.maximum(mass, 1e-12)
        return before + shift - common[self.market]

    def gain(self, before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
        """Return the mean drop in the Brier score from one forecast to the next, and its lower bound; x 1e4.

        The bound is one-sided, of a t distribution over blocks of time.
        """
        old, new = expit(before), expit(after)
        drop = np.bincount(self.block, self.bids * (old**2 - new**2) - 2 * self.wins * (old - new))
        bids = np.bincount(self.block, self.bids)
        mean, blocks = drop.sum() / bids.sum(), len(bids)
        if blocks < LEAST_BLOCKS:
            return 1e4 * float(mean), -np.inf
        error = np.sqrt(((drop - mean * bids) ** 2).sum() * blocks / (blocks - 1)) / bids.sum()
        quantile = student_t.ppf(1 - self.level, blocks - 1)
        return 1e4 * float(mean), 1e4 * float(mean - quantile * error)


def _number(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Number the combinations of these codes 0..n-1."""
    number = codes[0].astype(np.int64)
    for other in codes[1:]:
        number = pd.factorize(number * (int(other.max()) + 1) + other)[0]
    return number


def _effects_of_other_folds(residual: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Return each group's effect for each fold, estimated from the other folds, logit units, shape (n_groups, n_folds).

    An effect counts as far as it lasts: its variance is the covariance between folds, in which neither chance nor what
    happens to a group for a while has a part. What else varies within a fold is noise.

    Args:
        residual, information: shape (n_groups, n_folds), sums of the score and of its expected curvature.
    """
    effects = np.zeros_like(residual)
    for fold in range(residual.shape[1]):
        others, known = np.delete(residual, fold, axis=1), np.delete(information, fold, axis=1)
        total, mass = others.sum(axis=1), known.sum(axis=1)
        pairs = (mass**2).sum() - (known**2).sum()
        lasting = max(0.0, ((total**2).sum() - (others**2).sum()) / pairs) if pairs > 0 else 0.0
        noise = max(1.0, ((others**2).sum() - lasting * (known**2).sum()) / max(known.sum(), 1e-12))
        effects[:, fold] = lasting * total / (noise + lasting * mass)
    return effects


def _group_effects(cells: pd.DataFrame, by: str) -> tuple[np.ndarray, np.ndarray]:
    """The mean residual of each value and its inverse variance, which is that of the bids at each price.

    The variance is not the model's, p0 (1 - p0): where the price curve fits badly that is too small, and rare values
    would seem to differ.
    """
    bids, wins = cells["bids"].to_numpy(float), cells["wins"].to_numpy(float)
    expected = cells["expected"].to_numpy(float)
    price, value = pd.factorize(cells["price_bucket"])[0], pd.factorize(cells[by])[0]
    square = np.bincount(price, wins * (1 - expected) ** 2 + (bids - wins) * expected**2) / np.bincount(price, bids)
    count = np.bincount(value, bids)
    return (
        np.bincount(value, wins - bids * expected) / count,
        count**2 / np.bincount(value, np.maximum(bids * square[price], 1e-12)),
    )


def _identified_slope(cells: pd.DataFrame, anchor: str) -> float | None:
    """The slope from random variation around known planned bids; it depends on no feature but the anchor."""
    rows = randomised_rows(cells)
    slope = find_slope(rows, pd.factorize(rows[anchor])[0])
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
    least_gain: float,
) -> FeatureScore:
    gain, lower = gains.get(feature, (None, None))
    is_anchor, is_selected = feature == selected[0], feature in selected
    if is_anchor:
        reason = "anchor"
    elif is_selected:
        reason = notes.get(feature) or "reduces the error on unseen days"
    elif (note := notes.get(feature)) is not None:
        reason = note
    elif lower is not None and lower <= 0:
        reason = "no certain gain on unseen days"
    elif gain is not None and gain <= least_gain:
        reason = "its gain is too small to matter"
    else:
        reason = f"max_features={limits.max_features} reached"
    return FeatureScore(feature, None if is_anchor else signal[feature], gain, lower, is_selected, is_anchor, reason)
