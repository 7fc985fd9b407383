"""Whether a feature helps on unseen days: forecasts with it and without it, and the gain between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from optimizer.core.distributions import student_t_quantile
from optimizer.core.landscape.cells import number_combinations
from optimizer.core.landscape.shrinkage import posterior_shifts

FOLDS = 5
"""Each fifth of the window's time is predicted from the other four."""

LEAST_BLOCKS = 6
"""With fewer blocks of time no gain is certain."""

FALSE_CHOICE_RATE = 0.01

COUNTED_CANDIDATES = 20
"""The rate of false choices holds for this many candidates together, or for all where there are more (Bonferroni).
Below that the number of candidates does not matter: one more column does not change whether another is chosen.
"""


@dataclass(frozen=True, slots=True)
class FeatureTrial:
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
    def of(cls, priced: pd.DataFrame, *, anchor: str, candidates: Sequence[str]) -> "FeatureTrial":
        values = {feature: pd.factorize(priced[feature])[0] for feature in candidates}
        block, blocks = pd.factorize(priced["block"], sort=True)
        return cls(
            values=values,
            fold=block * min(FOLDS, len(blocks)) // len(blocks),
            block=block,
            market=number_combinations([values[anchor], pd.factorize(priced["day"])[0]]),
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

    def groups(self, features: Sequence[str]) -> list[np.ndarray]:
        """Return the group of each cell by the last feature alone, and by all of them, each 0..n-1."""
        return [self.values[features[-1]], number_combinations([self.values[feature] for feature in features])]

    def join(self, before: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
        """Return the forecast with the effects of each of the groups in turn."""
        for group in groups:
            before = self._add_effects(before, group)
        return before

    def _add_effects(self, before: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return the forecast with the shrunk effect of each group, learned on the other folds.

        Effects are taken within an anchor value and day: what moves the whole market, as a trend does, is not an effect
        of a feature whose mix moves with it.
        """
        shape = (int(self.fold.max()) + 1, int(group.max()) + 1)
        cell = self.fold * shape[1] + group
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
        quantile = student_t_quantile(1 - self.level, blocks - 1)
        return 1e4 * float(mean), 1e4 * float(mean - quantile * error)


def _effects_of_other_folds(residual: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Return each group's effect for each fold, estimated from the other folds, logit units, shape (n_folds, n_groups).

    An effect counts as far as it lasts: its variance is the covariance between folds, in which neither chance nor what
    happens to a group for a while has a part. What else varies within a fold is noise.

    Args:
        residual, information: shape (n_folds, n_groups), sums of the score and of its expected curvature.
    """
    total, mass, squares, known = map(_of_the_others, (residual, information, residual**2, information**2))
    pairs = (mass**2 - known).sum(axis=1)
    covariance = np.divide((total**2 - squares).sum(axis=1), pairs, out=np.zeros_like(pairs), where=pairs > 0)
    lasting = np.maximum(0.0, covariance)
    noise = (squares.sum(axis=1) - lasting * known.sum(axis=1)) / np.maximum(mass.sum(axis=1), 1e-12)
    return lasting[:, None] * total / (np.maximum(1.0, noise)[:, None] + lasting[:, None] * mass)


def _of_the_others(of_folds: np.ndarray) -> np.ndarray:
    """The sum over the other folds, for each fold."""
    return of_folds.sum(axis=0) - of_folds
