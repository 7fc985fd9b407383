"""The doubly robust estimate of what a policy brings (Dudik, Langford and Li, arXiv 1103.4601), with intervals.

It is the mean of a win-rate curve at the policy's bids, plus the curve's mean error at the logged bids, weighted by the
policy's density of the bid over the log's. The jitter makes both densities known. Weights are divided by the share of
the policy's bids that the log reaches, and self-normalised. Multipliers stay as they were logged.

Before that the curve is recalibrated on the days themselves, so that requests that no logged bid speaks for, which the
curve answers alone, are not answered at a stale level.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from optimizer.core.distributions import student_t_quantile
from optimizer.core.landscape.day_blocks import draw_days
from optimizer.core.landscape.design import Design
from optimizer.core.landscape.logit import fit_logit
from optimizer.core.landscape.shrinkage import between_group_variance
from optimizer.core.pricing.backtest_log import (
    BELOW_TRUNCATION,
    JITTER_MASS,
    JITTER_TRUNCATION_SD,
    BacktestLog,
    jitter_density,
    jitter_distribution,
)

RESAMPLES = 1_000
CONFIDENCE = 0.95

KERNEL_SHARE = 0.5
"""A policy's jitter is widened to this share of the log's where it is narrower: the kernel's bandwidth."""

_MIN_REACH = 0.05
_JITTER_NODES = 8

QUANTITIES = ("win_rate", "spend", "cpm", "surplus", "margin")
_OF_VALUE = ("surplus", "margin")

Outcome = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""P(win) of segment codes, log base bids and log multipliers, all of shape (n,)."""


@dataclass(frozen=True, slots=True)
class QuantityComparison:
    """One quantity of both policies and new less active, with 95 % intervals; None where no value is known.

    win_rate is of requests; spend and surplus are currency units over all requests; cpm is of wins; margin is
    surplus / revenue.
    """

    quantity: str
    active: float | None
    active_low: float | None
    active_high: float | None
    new: float | None
    new_low: float | None
    new_high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True, slots=True)
class CalibratedCurve:
    """logit P = scale * logit(outcome) + tilt * log jitter + drift * (log planned - usual) + day level.

    Log jitter is log base less log planned. Planned bids may drift with the market, so only the jitter bends the slope.

    slope_error: standard error of the common slope; slope_spread: sd of the segments' slopes around it; logit units.
    """

    outcome: Outcome
    scale: float
    tilt: float
    drift: float
    day_level: np.ndarray
    slope_error: float = 0.0
    slope_spread: float = 0.0

    def win_rate(self, log: BacktestLog, log_base: np.ndarray) -> np.ndarray:
        """Return P(win) of the cells' requests at these log base bids, shape (n_cells,)."""
        given = _logit_of(self.outcome, log, log_base)
        moved = self.tilt * (log_base - log.log_planned) + self.drift * (log.log_planned - log.log_usual)
        return expit(self.scale * given + moved + self.day_level[log.day])


def _logit_of(outcome: Outcome, log: BacktestLog, log_base: np.ndarray) -> np.ndarray:
    return logit(np.clip(outcome(log.segment, log_base, log.log_multiplier), 1e-6, 1 - 1e-6))


def calibrate(log: BacktestLog, outcome: Outcome) -> CalibratedCurve:
    """Return the curve refitted to the log: a scale, a slope of the jitter, one of the drift and a level for each day.

    How far segments' own slopes stray is estimated as by DerSimonian and Laird (1986).
    """
    jitter, drift = log.log_base - log.log_planned, log.log_planned - log.log_usual
    design = Design(np.column_stack([_logit_of(outcome, log, log.log_base), jitter, drift]), log.day, log.days)
    wins, bids = log.wins * log.is_randomised, log.bids * log.is_randomised
    scale, tilt, drift_weight, *day_level = fit_logit(design, wins=wins, trials=bids).coefficients
    curve = CalibratedCurve(outcome, float(scale), float(tilt), float(drift_weight), np.array(day_level))

    expected = curve.win_rate(log, log.log_base)
    information = log.by_segment(bids * expected * (1 - expected) * jitter**2)
    known = information > 1e-9
    stray = log.by_segment(jitter * (wins - bids * expected))[known] / information[known]
    variance = between_group_variance(stray, information[known])
    error = (1 / (1 / information[known] + variance)).sum() ** -0.5
    return replace(curve, slope_error=float(error), slope_spread=float(np.sqrt(variance)))


@dataclass(frozen=True, slots=True)
class PolicyEstimate:
    """A policy's sums, from which every quantity follows.

    by_day: shape (days, 9): wins, cost (CPM) and revenue (CPM) by the curve; their weighted residuals; weights;
        requests that are supported; requests.
    per_slope: shape (segments, 3): how wins, cost and revenue by the curve change with the slope.
    """

    by_day: np.ndarray
    per_slope: np.ndarray
    effective_sample_size: float
    supported_share: float


def evaluate(log: BacktestLog, curve: CalibratedCurve, planned_cpm: np.ndarray, *, jitter_sd: float) -> PolicyEstimate:
    """Return the policy's sums; `planned_cpm`: its planned bid of each cell, shape (n_cells,), 0 where it has none."""
    has_bid = planned_cpm > 0
    log_planned = np.where(has_bid, np.log(np.where(has_bid, planned_cpm, 1.0)), log.log_planned)
    value = np.nan_to_num(log.value_cpm)
    expected, per_slope = np.zeros((3, len(log.bids))), np.zeros((3, len(log.bids)))
    for factor in _jitter_nodes(jitter_sd):
        log_base = log_planned + np.log(factor)
        won = curve.win_rate(log, log_base)
        worth = has_bid / _JITTER_NODES * np.stack([np.ones(len(won)), np.exp(log_base + log.log_multiplier), value])
        expected += won * worth
        per_slope += won * (1 - won) * (log_base - log.log_planned) * worth

    weight, is_supported = _weigh(log, log_planned, sd=max(jitter_sd, KERNEL_SHARE * log.jitter_sd))
    weight, is_supported = weight * has_bid, is_supported | ~has_bid
    won = log.bids * curve.win_rate(log, log.log_base)
    bid_cpm = np.exp(log.log_base + log.log_multiplier)
    residuals = np.stack([log.wins - won, log.cost_cpm - won * bid_cpm, (log.wins - won) * value])
    columns = (*(log.bids * expected), *(weight * residuals), log.bids * weight, log.bids * is_supported, log.bids)
    squared = (log.bids * weight**2).sum()
    return PolicyEstimate(
        by_day=np.stack([log.by_day(column) for column in columns], axis=1),
        per_slope=np.stack([log.by_segment(log.bids * column) for column in per_slope], axis=1),
        effective_sample_size=float((log.bids * weight).sum() ** 2 / squared) if squared > 0 else 0.0,
        supported_share=float((log.bids * is_supported).sum() / log.bids.sum()),
    )


def _jitter_nodes(sd: float) -> np.ndarray:
    """Equally likely factors that stand for the jitter."""
    middles = (np.arange(_JITTER_NODES) + 0.5) / _JITTER_NODES
    return 1 + sd * ndtri(BELOW_TRUNCATION + JITTER_MASS * middles)


def _weigh(log: BacktestLog, log_planned: np.ndarray, *, sd: float) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each cell's bids, over the share of the policy's bids within the log's reach, and if there are any.

    The mean of the weights over the log's jitter is one in each segment and day that is supported.
    """
    edge = JITTER_TRUNCATION_SD * log.jitter_sd
    step = np.exp(log_planned - log.log_planned)
    is_supported = log.is_randomised & (np.abs(step - 1) <= edge)
    reach = jitter_distribution((1 + edge) / step, sd=sd) - jitter_distribution((1 - edge) / step, sd=sd)
    logged = jitter_density(np.clip(log.jitter, 1 - edge, 1 + edge), sd=log.jitter_sd)
    weight = jitter_density(log.jitter / step, sd=sd) / logged / np.maximum(reach, _MIN_REACH)
    return np.where(is_supported, weight, 0.0), is_supported


def compare(
    log: BacktestLog, curve: CalibratedCurve, policies: list[PolicyEstimate], *, seed: int
) -> tuple[QuantityComparison, ...]:
    """Return the rows, with intervals from a bootstrap of whole days.

    Each resample also draws errors of the common slope and of the segments' slopes. The weighted residuals correct part
    of them, but only by a few draws of the jitter a segment, and only where the log reaches; they count here as if
    nothing corrected them. Percentiles are expanded to the reach of the t distribution, since a week or two is a small
    sample: Hesterberg, The American Statistician 69 (2015), 371-386, doi 10.1080/00031305.2015.1089789.
    """
    rng = np.random.default_rng(seed)
    drawn = draw_days(rng, days=log.days, resamples=RESAMPLES)
    slope = curve.slope_error * rng.standard_normal((RESAMPLES, 1))
    slope = slope + curve.slope_spread * rng.standard_normal((RESAMPLES, log.size))
    widening = _residual_widening(log)
    estimates, resampled = [], []
    for policy in policies:
        total, sums = policy.by_day.sum(axis=0), drawn @ policy.by_day
        sums[:, :3] += slope @ policy.per_slope
        sums[:, 3:6] = total[3:6] + widening * (sums[:, 3:6] - total[3:6])
        estimates.append(_figures(total, requests=log.bids.sum()))
        resampled.append(_figures(sums, requests=log.bids.sum()))
    tail = _expanded_tail(log.days)
    columns = []
    for estimate, sample in (
        *zip(estimates, resampled, strict=True),
        (estimates[1] - estimates[0], resampled[1] - resampled[0]),
    ):
        columns += [estimate, *np.quantile(sample, [tail, 1 - tail], axis=0)]
    is_valued = not np.isnan(log.value_cpm).any()
    return tuple(
        QuantityComparison(quantity, *(float(v) if is_valued or quantity not in _OF_VALUE else None for v in values))
        for quantity, values in zip(QUANTITIES, np.stack(columns, axis=1), strict=True)
    )


def _figures(sums: np.ndarray, *, requests: float) -> np.ndarray:
    """The quantities, shape (..., 5), of sums as in `PolicyEstimate.by_day`, scaled to that many requests."""
    modelled, residual, (weights, supported, seen) = sums[..., :3], sums[..., 3:6], np.moveaxis(sums[..., 6:], -1, 0)
    totals = modelled + residual * (supported / np.maximum(weights, 1e-9))[..., None]
    wins, cost, revenue = np.moveaxis(totals / seen[..., None], -1, 0)
    surplus = revenue - cost
    margin = np.divide(surplus, revenue, out=np.zeros_like(surplus), where=revenue > 0)
    return np.stack([wins, cost * requests / 1_000, cost / wins, surplus * requests / 1_000, margin], axis=-1)


def _residual_widening(log: BacktestLog) -> float:
    """How much larger errors are than residuals of a curve that was fitted a level for each segment and each day.

    A segment counts by its share of the bids: a few large ones pull their days' levels to themselves.
    """
    shares = log.by_segment(log.bids) / log.bids.sum()
    return float(((1 - 1 / log.days) * max(1 - (shares**2).sum(), 1 / log.days)) ** -0.5)


def _expanded_tail(days: int) -> float:
    """The probability below a percentile interval that is as wide as a t interval with this many days."""
    quantile = student_t_quantile(0.5 + CONFIDENCE / 2, days - 1)
    return float(ndtr(-quantile * np.sqrt(days / (days - 1))))
