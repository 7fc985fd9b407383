"""Logistic regression on counts, with standard errors; some auctions may be won at any price."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from optimizer.errors import DataError


@dataclass(frozen=True, slots=True)
class LogitFit:
    """Coefficients, shape (n_columns,), and their covariance, shape (n_columns, n_columns), in logit units."""

    coefficients: np.ndarray
    covariance: np.ndarray

    @property
    def standard_errors(self) -> np.ndarray:
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What counts say about each row's logit: the derivative of the log-likelihood and its expected curvature."""

    score: np.ndarray
    information: np.ndarray


def weigh_evidence(
    logit: np.ndarray, *, wins: np.ndarray, trials: np.ndarray, unrivalled_share: float = 0.0
) -> Evidence:
    """Return the evidence of wins out of trials where P = unrivalled_share + (1 - unrivalled_share) sigmoid(logit)."""
    rivalled = expit(logit)
    probability = unrivalled_share + (1 - unrivalled_share) * rivalled
    rise = (1 - unrivalled_share) * rivalled * (1 - rivalled)
    per_variance = rise / np.maximum(probability * (1 - probability), 1e-12)
    return Evidence((wins - trials * probability) * per_variance, trials * rise * per_variance)


def fit_logit(
    design: np.ndarray,
    *,
    wins: np.ndarray,
    trials: np.ndarray,
    ridge: np.ndarray | float = 1e-6,
    unrivalled_share: float = 0.0,
    offset: np.ndarray | float = 0.0,
    max_steps: int = 100,
) -> LogitFit:
    """Return the maximum-likelihood fit of wins out of trials by Fisher scoring.

    Args:
        design: shape (n_rows, n_columns), with a column of ones for an intercept.
        wins, trials: shape (n_rows,), counts or weighted counts.
        unrivalled_share: share of auctions that any price wins; the logit is that of the others.
        offset: shape (n_rows,), a part of the logit that is known.
        ridge: penalty a coefficient, in units of 1 / variance of a normal prior around 0.
    Raises:
        DataError: the fit does not converge: the columns separate wins from losses.
    """
    penalty = np.broadcast_to(np.asarray(ridge, float), design.shape[1:])
    coefficients = np.zeros(design.shape[1])
    for _ in range(max_steps):
        logit = offset + design @ coefficients
        evidence = weigh_evidence(logit, wins=wins, trials=trials, unrivalled_share=unrivalled_share)
        gradient = design.T @ evidence.score - penalty * coefficients
        information = (design.T * evidence.information) @ design + np.diag(penalty)
        step = np.linalg.solve(information, gradient)
        coefficients = coefficients + step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-9:
            return LogitFit(coefficients, np.linalg.inv(information))
    raise DataError("the win-rate curve does not converge: wins and losses are separated by price; widen the window")
