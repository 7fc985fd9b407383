"""How much groups truly differ, and how far each must be pulled to the rest."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import betaln

from optimizer.core.landscape.logit import FULL_RANGE, Tails, weigh_evidence

_NEWTON_STEPS = 8


def between_group_variance(effects: np.ndarray, weights: np.ndarray) -> float:
    """Return the variance of true effects between groups, sampling noise taken off; 0 where there is only noise.

    Args:
        effects: shape (n_groups,), observed effect of each group.
        weights: shape (n_groups,), inverse sampling variance of each effect.
    Source: DerSimonian and Laird, 1986.
    """
    total = weights.sum()
    spread = total - (weights**2).sum() / total if total > 0 else 0.0
    if len(effects) < 2 or spread <= 0:
        return 0.0
    mean = (weights * effects).sum() / total
    heterogeneity = (weights * (effects - mean) ** 2).sum()
    return max(0.0, float((heterogeneity - (len(effects) - 1)) / spread))


def shrink_effects(effects: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return each effect pulled towards 0 by its share of noise: tau2 / (tau2 + 1/weight)."""
    tau2 = between_group_variance(effects, weights)
    return effects * (tau2 * weights) / (1.0 + tau2 * weights)


def posterior_shifts(
    curve: np.ndarray,
    *,
    wins: np.ndarray,
    bids: np.ndarray,
    group: np.ndarray,
    size: int,
    tails: Tails = FULL_RANGE,
    variance_factor: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return each group's shift of a win-rate curve and its standard error, in logit units, shape (size,).

    Shifts are normal around 0 with the variance between the groups; a shift is the mode of its posterior (Newton).

    Args:
        curve: shape (n_cells,), logit of the win rate that is expected of each cell.
        wins, bids: shape (n_cells,), counts or weighted counts.
        group: shape (n_cells,), the group of each cell, 0..size-1.
        tails: ends of the curve; the logit is that of the auctions between them.
        variance_factor: the variance between the groups counts as that many times what was estimated.
    """

    def evidence(shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = weigh_evidence(curve + shift[group], wins=wins, trials=bids, tails=tails)
        return np.bincount(group, cells.score, minlength=size), np.bincount(group, cells.information, minlength=size)

    shift = np.zeros(size)
    residual, information = evidence(shift)
    known = information > 0
    tau2 = variance_factor * between_group_variance(residual[known] / information[known], information[known])
    for _ in range(_NEWTON_STEPS if tau2 > 0 else 0):
        step = (residual - shift / tau2) / (information + 1 / tau2)
        shift = shift + np.clip(step, -1.0, 1.0)
        residual, information = evidence(shift)
    return shift, np.sqrt(tau2 / (1 + tau2 * information))


def prior_strength(successes: np.ndarray, trials: np.ndarray, prior_rate: np.ndarray) -> float:
    """Return the number of trials that the prior rate is worth, by marginal likelihood of the beta-binomial.

    Args:
        successes, trials, prior_rate: shape (n_groups,); the prior rate is each group's parent.
    Returns:
        Trials, between 1 and 1e9; large where groups do not differ from their parents.
    """
    rate = np.clip(prior_rate, 1e-12, 1 - 1e-12)

    def negative_log_likelihood(log_strength: float) -> float:
        alpha = np.exp(log_strength) * rate
        beta = np.exp(log_strength) * (1 - rate)
        return -float((betaln(alpha + successes, beta + trials - successes) - betaln(alpha, beta)).sum())

    best = minimize_scalar(negative_log_likelihood, bounds=(0.0, np.log(1e9)), method="bounded")
    return float(np.exp(best.x))


def shrink_rates(successes: np.ndarray, trials: np.ndarray, prior_rate: np.ndarray) -> np.ndarray:
    """Return the posterior mean rate of each group under a beta prior around its parent's rate."""
    strength = prior_strength(successes, trials, prior_rate)
    return (successes + strength * prior_rate) / (trials + strength)
