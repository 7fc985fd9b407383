"""Logistic regression on counts, with standard errors; some auctions may be won at any price."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from optimizer.core.landscape.design import Design
from optimizer.errors import DataError

PRIOR_SD = 10.0
"""Coefficients are normal around 0 with this standard deviation, far wider than those of any market: a price that
separates wins from losses without exception then has a finite slope, with an error that shows that it is not known.

Source: Gelman et al., A weakly informative default prior distribution for logistic regression, 2008.
"""

MOST_HALVINGS = 30
NEGLIGIBLE_GAIN = 1e-6
"""A fit that would gain less log-likelihood than this by its next step has converged: its coefficients are within a
thousandth of their standard errors, even where wins and losses are almost separated and its steps overshoot."""


@dataclass(frozen=True, slots=True)
class Tails:
    """The ends of a win-rate curve: P = floor + (ceiling - floor) sigmoid(logit).

    floor: share of auctions without a rival, which any bid wins; ceiling: 1 less the share that no bid wins (time-outs,
    creatives that are refused, win notices that are lost).
    """

    floor: float = 0.0
    ceiling: float = 1.0

    @property
    def width(self) -> float:
        return self.ceiling - self.floor

    def __call__(self, contested: np.ndarray) -> np.ndarray:
        """Return the win rate where this share of the contested auctions is won."""
        return self.floor + self.width * contested


FULL_RANGE = Tails()


@dataclass(frozen=True, slots=True)
class LogitFit:
    """Coefficients, shape (n_columns,), and their covariance, shape (n_columns, n_columns), in logit units."""

    coefficients: np.ndarray
    covariance: np.ndarray

    @property
    def standard_errors(self) -> np.ndarray:
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True, slots=True)
class LogitEvidence:
    """What counts say about each row's logit: the derivative of the log-likelihood and its expected curvature."""

    score: np.ndarray
    information: np.ndarray


def weigh_evidence(
    logit: np.ndarray, *, wins: np.ndarray, trials: np.ndarray, tails: Tails = FULL_RANGE
) -> LogitEvidence:
    """Return the evidence of wins out of trials where P = tails(sigmoid(logit))."""
    contested = expit(logit)
    probability = tails(contested)
    rise = tails.width * contested * (1 - contested)
    per_variance = rise / np.maximum(probability * (1 - probability), 1e-12)
    return LogitEvidence((wins - trials * probability) * per_variance, trials * rise * per_variance)


def fit_logit(
    design: np.ndarray | Design,
    *,
    wins: np.ndarray,
    trials: np.ndarray,
    prior_sd: np.ndarray | float = PRIOR_SD,
    tails: Tails = FULL_RANGE,
    offset: np.ndarray | float = 0.0,
    max_steps: int = 100,
) -> LogitFit:
    """Return the likeliest fit of wins out of trials under a weak prior, by Fisher scoring that never goes downhill.

    Args:
        design: shape (n_rows, n_columns), with a column of ones, or with levels, for an intercept.
        wins, trials: shape (n_rows,), counts or weighted counts.
        tails: ends of the curve; the logit is that of the auctions between them.
        offset: shape (n_rows,), a part of the logit that is known.
        prior_sd: standard deviation of each coefficient's normal prior around 0.
    Raises:
        DataError: the fit does not converge.
    """
    rows = design if isinstance(design, Design) else Design.plain(design)
    penalty = np.broadcast_to(1 / np.square(np.asarray(prior_sd, float)), (rows.width,))

    def place(coefficients: np.ndarray) -> tuple[np.ndarray, float]:
        """The logit of each row, and the log posterior."""
        logit = offset + rows.predict(coefficients)
        likelihood = log_likelihood(logit, wins=wins, trials=trials, tails=tails)
        return logit, likelihood - float(penalty @ coefficients**2) / 2

    coefficients = np.zeros(rows.width)
    logit, reached = place(coefficients)
    for _ in range(max_steps):
        evidence = weigh_evidence(logit, wins=wins, trials=trials, tails=tails)
        gradient = rows.sums(evidence.score) - penalty * coefficients
        information = rows.products(evidence.information) + np.diag(penalty)
        step = np.linalg.solve(information, gradient)
        for _ in range(MOST_HALVINGS):
            logit, climbed = place(coefficients + step)
            if climbed >= reached - 1e-10 * abs(reached):
                break
            step /= 2
        coefficients, reached = coefficients + step, climbed
        if np.abs(step).max() < 1e-9:
            return LogitFit(coefficients, np.linalg.inv(information))
    if gradient @ step < NEGLIGIBLE_GAIN:
        return LogitFit(coefficients, np.linalg.inv(information))
    raise DataError(
        f"the win-rate curve does not converge in {max_steps} steps, as where wins and losses are almost separated; "
        "check for a feature that knows the outcome (opt_feature_macros) and for days on which all or no bids were won"
    )


def log_likelihood(logit: np.ndarray, *, wins: np.ndarray, trials: np.ndarray, tails: Tails = FULL_RANGE) -> float:
    """Return the log-likelihood of wins out of trials at each row's logit, without the binomial constant."""
    won = _log_share(logit, least=tails.floor, width=tails.width)
    lost = _log_share(-logit, least=1 - tails.ceiling, width=tails.width)
    return float(wins @ won + (trials - wins) @ lost)


def _log_share(logit: np.ndarray, *, least: float, width: float) -> np.ndarray:
    """log(least + width sigmoid(logit)), finite however small the sigmoid is."""
    if least > 0:
        return np.log(least + width * expit(logit))
    return np.log(width) + np.minimum(logit, 0.0) - np.log1p(np.exp(-np.abs(logit)))
