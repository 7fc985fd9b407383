"""How far the shadow price, and the share of requests that each limit decides, may be from what a run says.

The bids are planned again at the ends of what the run knows: the level of the next days, the slope, the value of a win,
and the level of each segment. What each end changes is added as independent errors are: by squares, up and down apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.distributions import student_t_quantile
from optimizer.core.pricing.bids import REASONS, decide_bids
from optimizer.core.pricing.forecast import DayLevel, Outlook, read_outlook
from optimizer.runs.learned import Learned
from optimizer.runs.pricing import PlannedRun
from optimizer.training.job import TrainingReport

LIMITS: Mapping[str, tuple[str, ...]] = {
    "cap": ("cap",),
    "floor": ("floor", "no_bid_floor", "hidden_floor"),
    "margin": ("margin",),
    "evidence": ("trust_band", "held"),
    "step": ("step",),
}
"""Limit: the reasons of the bids that it decides. `evidence` is what the log does not show: bids beyond the trust band,
and bids that are held because no slope is known.
"""

SAMPLE = 4_096
"""Of more segments than twice as many, ends are planned on that many, at even steps along the requests."""

LOWEST_SLOPE_FACTOR = 0.3
COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class LimitIntervals:
    """The ends of 95 % intervals, (low, high).

    values: limit -> share of the requests; shares: limit -> the ends of its interval.
    """

    shadow_price_cpm: tuple[float, float]
    values: Mapping[str, float]
    shares: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, planned: PlannedRun, learned: Learned, *, level_sd: float) -> "LimitIntervals":
        """Return the intervals of a plan.

        Args:
            level_sd: standard deviation of the level of the next days, logit units.
        """
        outlook = read_outlook([DayLevel(**day) for day in learned.report.day_levels])
        z = student_t_quantile(0.5 + COVERAGE / 2, outlook.freedom)
        rows = _sampled(planned.segments)
        middle = _find(rows, planned)
        spreads = _Spreads(level_sd, learned.report, learned.total_clicks)
        moves = [
            np.array([_find(segments, planned) - middle for segments in pair]) for pair in spreads.scenarios(rows, z)
        ]
        values, traffic = _shares(planned.bids), z * _traffic_sd(planned.bids, outlook)
        errors = np.append(0.0, traffic)
        low = np.sqrt(sum(np.min(move, axis=0, initial=0.0) ** 2 for move in moves) + errors**2)
        high = np.sqrt(sum(np.max(move, axis=0, initial=0.0) ** 2 for move in moves) + errors**2)
        price = planned.plan.shadow_price_cpm
        return cls(
            shadow_price_cpm=(max(0.0, price - float(low[0])), price + float(high[0])),
            values=values,
            shares={
                name: (max(0.0, share - down), min(1.0, share + up))
                for (name, share), down, up in zip(values.items(), low[1:].tolist(), high[1:].tolist(), strict=True)
            },
        )


@dataclass(frozen=True, slots=True)
class _Spreads:
    """What a run knows of its own errors."""

    level_sd: float
    report: TrainingReport
    total_clicks: int

    def scenarios(self, segments: pd.DataFrame, z: float) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """The segments at both ends of each thing that is not known exactly."""
        level, report = segments["level"], self.report
        step = z * self.level_sd
        yield segments.assign(level=level - step), segments.assign(level=level + step)
        if np.isfinite(report.slope_error) and report.slope > 0:
            share = z * report.slope_error / report.slope
            yield (
                _steeper(segments, max(LOWEST_SLOPE_FACTOR, 1 - share), report.reference_cpm),
                _steeper(segments, 1 + share, report.reference_cpm),
            )
        if (error := z * self._value_error()) > 0:
            value = segments["value_cpm"]
            yield segments.assign(value_cpm=value * np.exp(-error)), segments.assign(value_cpm=value * np.exp(error))
        drawn = np.random.default_rng(0).standard_normal(len(segments))
        yield _drawn(segments, -drawn), _drawn(segments, drawn)

    def _value_error(self) -> float:
        """Relative standard error of a win's mean value."""
        by_clicks = 1000 * self.report.global_click_rate * self.report.value_per_click
        worth = by_clicks + self.report.value_per_mille_views
        if worth <= 0 or not self.total_clicks:
            return 0.0
        return by_clicks / worth * float(np.sqrt((1 + self.report.click_value_cv**2) / self.total_clicks))


def _steeper(segments: pd.DataFrame, factor: float, reference_cpm: float) -> pd.DataFrame:
    """The segments with steeper curves through the same point, at the usual bid."""
    log_bid = np.log(segments["usual_bid_cpm"] / reference_cpm)
    slope = factor * segments["slope"]
    return segments.assign(slope=slope, level=segments["level"] + (segments["slope"] - slope) * log_bid)


def _drawn(segments: pd.DataFrame, drawn: np.ndarray) -> pd.DataFrame:
    """The segments with the curves of one draw, which is steeper than the mean of all draws."""
    flatness = segments["flatness"]
    level = segments["level"] * flatness + drawn * segments["level_error"]
    return segments.assign(level=level, slope=segments["slope"] * flatness)


def _find(segments: pd.DataFrame, planned: PlannedRun) -> np.ndarray:
    """The shadow price, and the share of each limit, of these segments' bids."""
    decided = decide_bids(segments, landscape=planned.landscape, policy=planned.policy)
    requests = segments["requests"].to_numpy(float)
    by_reason = np.bincount(decided.reason, requests, minlength=len(REASONS)) / requests.sum()
    shares = (sum(by_reason[REASONS.index(reason)] for reason in reasons) for reasons in LIMITS.values())
    return np.array([decided.shadow_price_cpm, *shares])


def _sampled(segments: pd.DataFrame) -> pd.DataFrame:
    if len(segments) <= 2 * SAMPLE:
        return segments
    mass = np.cumsum(segments["requests"].to_numpy(float))
    rows = np.searchsorted(mass, (np.arange(SAMPLE) + 0.5) / SAMPLE * mass[-1])
    sample: pd.DataFrame = segments.iloc[rows].reset_index(drop=True)
    return sample.assign(requests=mass[-1] / SAMPLE)


def _shares(bids: pd.DataFrame) -> dict[str, float]:
    requests, reason = bids["requests"].to_numpy(float), bids["reason"]
    total = requests.sum()
    return {name: float(requests[reason.isin(reasons)].sum() / total) for name, reasons in LIMITS.items()}


def _traffic_sd(bids: pd.DataFrame, outlook: Outlook) -> np.ndarray:
    """Standard deviation of each share as the traffic of single segments differs from what is expected."""
    requests, reason = bids["requests"].to_numpy(float), bids["reason"]
    weight = requests / requests.sum()
    relative = outlook.volume_sd**2 + 1 / np.maximum(requests, 1.0)
    shares = _shares(bids)
    spread = [
        float((weight**2 * relative * (reason.isin(reasons).to_numpy() - shares[name]) ** 2).sum())
        for name, reasons in LIMITS.items()
    ]
    return np.sqrt(spread)
