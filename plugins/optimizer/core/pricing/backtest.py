"""What new bids would have brought on the requests of the last days, against the active run's: before they go live.

The log's base bids are planned bids times a jitter that was drawn at random, so logged bids that happen to lie where a
policy would bid show what it would have won. Two estimates are made of that:

- Replay bounds, of one-dimensional auctions: what was won is won at a higher bid, what was lost is lost at a lower one.
- A doubly robust estimate (Dudik, Langford and Li, arXiv 1103.4601): the mean of a win-rate curve at the policy's bids,
  plus the curve's mean error at the logged bids, weighted by the policy's density of the bid over the log's. The jitter
  makes both densities known. Weights are divided by the share of the policy's bids that the log reaches, and
  self-normalised. Multipliers stay as they were logged.

Before that the curve is recalibrated on the days themselves, so that requests that no logged bid speaks for, which the
curve answers alone, are not answered at a stale level.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import t as student_t

from optimizer.core.landscape.day_blocks import draw_days
from optimizer.core.landscape.logit import fit_logit
from optimizer.core.landscape.shrinkage import between_group_variance
from optimizer.errors import DataError

MIN_DAYS = 7
MIN_EFFECTIVE_SAMPLE = 300.0
MIN_SUPPORTED_SHARE = 0.5
"""Least share of requests whose new planned bid is among the bids that the jitter could have made."""

RESAMPLES = 1_000
CONFIDENCE = 0.95
JITTER_TRUNCATION_SD = 2.0

KERNEL_SHARE = 0.5
"""A policy's jitter is widened to this share of the log's where it is narrower: the kernel's bandwidth."""

_ROUNDING_SD = 0.5  # cents, and centres that are estimated, put logged bids this far outside the truncation
_MIN_SPREAD_SHARE = 0.5
_MIN_REACH = 0.05
_JITTER_NODES = 8
_BELOW_TRUNCATION = float(ndtr(-JITTER_TRUNCATION_SD))
_MASS = 1 - 2 * _BELOW_TRUNCATION

QUANTITIES = ("win_rate", "spend", "cpm", "surplus", "margin")
_OF_VALUE = ("surplus", "margin")

Outcome = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""P(win) of segment codes, log base bids and log multipliers, all of shape (n,)."""


@dataclass(frozen=True, slots=True)
class Comparison:
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
class Backtest:
    """The comparison, or why there is none.

    reason: why the log does not support a comparison; None where it does.
    effective_sample_size: (sum of weights)^2 / sum of squared weights over requests, of the policy that has less.
    supported_share: share of requests whose new planned bid is within the log's jitter; the rest comes from the curve.
    replay_low, replay_high: bounds of the new policy's win rate that need no curve; None without days.
    rows: one a quantity of `QUANTITIES`; empty where the backtest refuses.
    """

    is_supported: bool
    reason: str | None
    days: int
    requests: int
    effective_sample_size: float
    supported_share: float
    replay_low: float | None
    replay_high: float | None
    rows: tuple[Comparison, ...] = ()

    def find(self, quantity: str) -> Comparison:
        """Return the row of a quantity.

        Raises:
            KeyError: the row does not exist.
        """
        return {row.quantity: row for row in self.rows}[quantity]

    def to_record(self) -> dict[str, Any]:
        """Return plain values that JSON takes; no NaN among them."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


def run_backtest(
    cells: pd.DataFrame,
    *,
    segments: pd.DataFrame,
    outcome: Outcome,
    logging_jitter_sd: float,
    active_jitter_sd: float,
    new_jitter_sd: float,
    seed: int,
) -> Backtest:
    """Return what the active and the new policy would have brought on the requests of the cells.

    Args:
        cells: of the days to compare on, with day, segment (code), bids, wins, cost_cpm_sum, log_bid, log_base (NaN
            where no optimizer priced the bid) and log_planned (of the base bid before jitter; NaN where unknown: then
            the segment's mean log base stands for it). Days without any jittered bid are left out.
        segments: indexed by segment code, with planned_active_cpm and planned_new_cpm (before jitter; NaN: no bid) and
            value_cpm, what a thousand wins earn (NaN unknown: then there is no surplus and no margin).
        outcome: the run's win-rate curve.
        logging_jitter_sd, active_jitter_sd, new_jitter_sd: of the factors around 1, truncated at 2 sd.
        seed: of the bootstrap.

    Raises:
        DataError: a cell's segment is not among the segments.
    """
    log = _read_log(cells, segments, jitter_sd=logging_jitter_sd)
    planned = [_planned(log, segments[f"planned_{name}_cpm"]) for name in ("active", "new")]
    low, high = _replay_bounds(log, planned[1], jitter_sd=new_jitter_sd) if log.days else (None, None)

    def refuse(reason: str, effective: float = 0.0, share: float = 0.0) -> Backtest:
        return Backtest(False, reason, log.days, int(log.bids.sum()), effective, share, low, high)

    if reason := _find_gap(log):
        return refuse(reason)
    try:
        curve = _calibrate(log, outcome)
    except DataError as error:
        return refuse(str(error))
    policies = [
        _evaluate(log, curve, planned_cpm, jitter_sd=sd)
        for planned_cpm, sd in zip(planned, (active_jitter_sd, new_jitter_sd), strict=True)
    ]
    effective, share = min(policy.effective_sample_size for policy in policies), policies[1].supported_share
    if share < MIN_SUPPORTED_SHARE:
        return refuse(
            f"only {share:.0%} of the requests are in segments whose new bid lies among the logged bids, "
            f"at least {MIN_SUPPORTED_SHARE:.0%} are needed: take smaller steps",
            effective,
            share,
        )
    if effective < MIN_EFFECTIVE_SAMPLE:
        return refuse(
            f"the logged bids near the policies' bids are worth {effective:.0f} requests, at least "
            f"{MIN_EFFECTIVE_SAMPLE:.0f} are needed: take more days, or smaller steps",
            effective,
            share,
        )
    rows = _compare(log, curve, policies, seed=seed)
    won = rows[0]
    if _is_apart((won.new_low, won.new_high), (low, high)):
        return refuse(
            f"the win rate {won.new:.3f} ({won.new_low:.3f} to {won.new_high:.3f}) contradicts the replay of the log, "
            f"{low:.3f} to {high:.3f}: check the planned bids and the jitter of the runs that made the log",
            effective,
            share,
        )
    return Backtest(True, None, log.days, int(log.bids.sum()), effective, share, low, high, rows)


def _is_apart(one: tuple[float | None, float | None], other: tuple[float | None, float | None]) -> bool:
    """Whether two intervals have nothing in common; one that is not known is not apart."""
    (one_low, one_high), (other_low, other_high) = one, other
    if one_low is None or one_high is None or other_low is None or other_high is None:
        return False
    return one_high < other_low or one_low > other_high


@dataclass(frozen=True, slots=True)
class _Log:
    """The cells of days with jittered bids, as arrays of shape (n_cells,); logs of CPM. `jitter` is base / planned."""

    day: np.ndarray
    segment: np.ndarray
    bids: np.ndarray
    wins: np.ndarray
    cost_cpm: np.ndarray
    log_base: np.ndarray
    log_multiplier: np.ndarray
    log_planned: np.ndarray
    log_usual: np.ndarray
    value_cpm: np.ndarray
    is_randomised: np.ndarray
    jitter_sd: float
    days: int
    size: int

    @property
    def jitter(self) -> np.ndarray:
        return np.exp(self.log_base - self.log_planned)

    def by_day(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.day, values, minlength=self.days)

    def by_segment(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.segment, values, minlength=self.size)


def _read_log(cells: pd.DataFrame, segments: pd.DataFrame, *, jitter_sd: float) -> _Log:
    jittered_days = cells.loc[cells["log_base"].notna(), "day"].unique()
    cells = cells[cells["day"].isin(jittered_days)]
    segment = segments.index.get_indexer(pd.Index(cells["segment"]))
    if (segment < 0).any():
        unknown = cells["segment"][segment < 0].iloc[0]
        raise DataError(f"segment {unknown} of the cells is not among the segments of the backtest; give its bids")
    day, days = pd.factorize(cells["day"], sort=True)
    is_priced = cells["log_base"].notna().to_numpy()
    log_base = cells["log_base"].fillna(cells["log_bid"]).to_numpy(float)
    bids = cells["bids"].to_numpy(float)
    usual = _segment_means(segment, log_base, bids=np.where(is_priced, bids, 1e-9 * bids))
    planned = cells["log_planned"].to_numpy(float)
    planned = np.where(np.isnan(planned), usual, planned)
    deviation = np.abs(np.exp(log_base - planned) - 1)
    return _Log(
        day=day,
        segment=segment,
        bids=bids,
        wins=cells["wins"].to_numpy(float),
        cost_cpm=cells["cost_cpm_sum"].to_numpy(float),
        log_base=log_base,
        log_multiplier=cells["log_bid"].to_numpy(float) - log_base,
        log_planned=planned,
        log_usual=usual,
        value_cpm=segments["value_cpm"].to_numpy(float)[segment],
        is_randomised=is_priced & (deviation <= (JITTER_TRUNCATION_SD + _ROUNDING_SD) * jitter_sd),
        jitter_sd=jitter_sd,
        days=len(days),
        size=len(segments),
    )


def _segment_means(segment: np.ndarray, values: np.ndarray, *, bids: np.ndarray) -> np.ndarray:
    sums = np.bincount(segment, bids * values)
    return sums[segment] / np.bincount(segment, bids)[segment]


def _planned(log: _Log, planned_cpm: pd.Series) -> np.ndarray:
    """The policy's planned bid of each cell, CPM; 0 where it makes none."""
    return np.nan_to_num(planned_cpm.to_numpy(float))[log.segment]


def _find_gap(log: _Log) -> str | None:
    """What the log lacks for any comparison."""
    if log.days < MIN_DAYS:
        return f"{log.days} days of the log have jittered bids, at least {MIN_DAYS} are needed: wait for more days"
    if not 0 < log.wins.sum() < log.bids.sum():
        return "the log has no wins or no losses: a curve cannot be told from it"
    randomised = np.where(log.is_randomised, log.bids, 0.0)
    spread = np.sqrt((randomised * (log.jitter - 1) ** 2).sum() / max(1.0, randomised.sum()))
    if log.jitter_sd <= 0 or spread < _MIN_SPREAD_SHARE * log.jitter_sd:
        return (
            f"the logged bids vary by {spread:.3f} around the planned ones where a jitter of {log.jitter_sd:.3f} was "
            "expected: bids that were not varied at random say nothing about other bids; set exploration_mode"
        )
    return None


def _density(factor: np.ndarray, *, sd: float) -> np.ndarray:
    """The density of the log of a jitter factor."""
    z = (factor - 1) / sd
    inside = np.exp(-(z**2) / 2) * factor / (np.sqrt(2 * np.pi) * sd * _MASS)
    return np.where(np.abs(z) <= JITTER_TRUNCATION_SD + 1e-9, inside, 0.0)


def _distribution(factor: np.ndarray, *, sd: float) -> np.ndarray:
    """P(jitter <= factor); with an sd of 0 the jitter is 1."""
    if sd == 0:
        return np.asarray(factor >= 1, dtype=float)
    z = np.clip((factor - 1) / sd, -JITTER_TRUNCATION_SD, JITTER_TRUNCATION_SD)
    return (ndtr(z) - _BELOW_TRUNCATION) / _MASS


def _jitter_nodes(sd: float) -> np.ndarray:
    """Equally likely factors that stand for the jitter."""
    middles = (np.arange(_JITTER_NODES) + 0.5) / _JITTER_NODES
    return 1 + sd * ndtri(_BELOW_TRUNCATION + _MASS * middles)


def _replay_bounds(log: _Log, planned_cpm: np.ndarray, *, jitter_sd: float) -> tuple[float, float]:
    """Bounds of the policy's win rate: wins it would have kept, and those plus the losses that it would have outbid."""
    has_bid = planned_cpm > 0
    needed = np.exp(log.log_base) / np.where(has_bid, planned_cpm, 1.0)
    below = np.where(has_bid, _distribution(needed, sd=jitter_sd), 1.0)
    kept = (log.wins * (1 - below)).sum()
    outbid = ((log.bids - log.wins) * (1 - below)).sum()
    might_keep = (log.wins * has_bid).sum()
    return float(kept / log.bids.sum()), float((might_keep + outbid) / log.bids.sum())


@dataclass(frozen=True, slots=True)
class _Curve:
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

    def win_rate(self, log: _Log, log_base: np.ndarray) -> np.ndarray:
        given = _logit_of(self.outcome, log, log_base)
        moved = self.tilt * (log_base - log.log_planned) + self.drift * (log.log_planned - log.log_usual)
        return expit(self.scale * given + moved + self.day_level[log.day])


def _logit_of(outcome: Outcome, log: _Log, log_base: np.ndarray) -> np.ndarray:
    return logit(np.clip(outcome(log.segment, log_base, log.log_multiplier), 1e-6, 1 - 1e-6))


def _calibrate(log: _Log, outcome: Outcome) -> _Curve:
    """Return the curve refitted to the log: a scale, a slope of the jitter, one of the drift and a level for each day.

    How far segments' own slopes stray is estimated as by DerSimonian and Laird (1986).
    """
    jitter, drift = log.log_base - log.log_planned, log.log_planned - log.log_usual
    levels = np.eye(log.days)[log.day]
    design = np.column_stack([_logit_of(outcome, log, log.log_base), jitter, drift, levels])
    wins, bids = log.wins * log.is_randomised, log.bids * log.is_randomised
    scale, tilt, drift_weight, *day_level = fit_logit(design, wins=wins, trials=bids).coefficients
    curve = _Curve(outcome, float(scale), float(tilt), float(drift_weight), np.array(day_level))

    expected = curve.win_rate(log, log.log_base)
    information = log.by_segment(bids * expected * (1 - expected) * jitter**2)
    known = information > 1e-9
    stray = log.by_segment(jitter * (wins - bids * expected))[known] / information[known]
    variance = between_group_variance(stray, information[known])
    error = (1 / (1 / information[known] + variance)).sum() ** -0.5
    return replace(curve, slope_error=float(error), slope_spread=float(np.sqrt(variance)))


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """A policy's sums, from which every quantity follows.

    by_day: shape (days, 9): wins, cost (CPM) and revenue (CPM) by the curve; their weighted residuals; weights;
        requests that are supported; requests.
    per_slope: shape (segments, 3): how wins, cost and revenue by the curve change with the slope.
    """

    by_day: np.ndarray
    per_slope: np.ndarray
    effective_sample_size: float
    supported_share: float


def _evaluate(log: _Log, curve: _Curve, planned_cpm: np.ndarray, *, jitter_sd: float) -> _Evaluation:
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
    return _Evaluation(
        by_day=np.stack([log.by_day(column) for column in columns], axis=1),
        per_slope=np.stack([log.by_segment(log.bids * column) for column in per_slope], axis=1),
        effective_sample_size=float((log.bids * weight).sum() ** 2 / squared) if squared > 0 else 0.0,
        supported_share=float((log.bids * is_supported).sum() / log.bids.sum()),
    )


def _weigh(log: _Log, log_planned: np.ndarray, *, sd: float) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each cell's bids, over the share of the policy's bids within the log's reach, and if there are any.

    The mean of the weights over the log's jitter is one in each segment and day that is supported.
    """
    edge = JITTER_TRUNCATION_SD * log.jitter_sd
    step = np.exp(log_planned - log.log_planned)
    is_supported = log.is_randomised & (np.abs(step - 1) <= edge)
    reach = _distribution((1 + edge) / step, sd=sd) - _distribution((1 - edge) / step, sd=sd)
    logged = _density(np.clip(log.jitter, 1 - edge, 1 + edge), sd=log.jitter_sd)
    weight = _density(log.jitter / step, sd=sd) / logged / np.maximum(reach, _MIN_REACH)
    return np.where(is_supported, weight, 0.0), is_supported


def _compare(log: _Log, curve: _Curve, policies: list[_Evaluation], *, seed: int) -> tuple[Comparison, ...]:
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
        Comparison(quantity, *(float(v) if is_valued or quantity not in _OF_VALUE else None for v in values))
        for quantity, values in zip(QUANTITIES, np.stack(columns, axis=1), strict=True)
    )


def _figures(sums: np.ndarray, *, requests: float) -> np.ndarray:
    """The quantities, shape (..., 5), of sums as in `_Evaluation.by_day`, scaled to that many requests."""
    modelled, residual, (weights, supported, seen) = sums[..., :3], sums[..., 3:6], np.moveaxis(sums[..., 6:], -1, 0)
    totals = modelled + residual * (supported / np.maximum(weights, 1e-9))[..., None]
    wins, cost, revenue = np.moveaxis(totals / seen[..., None], -1, 0)
    surplus = revenue - cost
    margin = np.divide(surplus, revenue, out=np.zeros_like(surplus), where=revenue > 0)
    return np.stack([wins, cost * requests / 1_000, cost / wins, surplus * requests / 1_000, margin], axis=-1)


def _residual_widening(log: _Log) -> float:
    """How much larger errors are than residuals of a curve that was fitted a level for each segment and each day.

    A segment counts by its share of the bids: a few large ones pull their days' levels to themselves.
    """
    shares = log.by_segment(log.bids) / log.bids.sum()
    return float(((1 - 1 / log.days) * max(1 - (shares**2).sum(), 1 / log.days)) ** -0.5)


def _expanded_tail(days: int) -> float:
    """The probability below a percentile interval that is as wide as a t interval with this many days."""
    quantile = student_t.ppf(0.5 + CONFIDENCE / 2, days - 1)
    return float(ndtr(-quantile * np.sqrt(days / (days - 1))))
