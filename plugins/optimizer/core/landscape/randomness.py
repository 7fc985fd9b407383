"""Is the variation of someone else's bids random? What is left of logged bids, and the tests that it has to pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.landscape.cells import number_combinations
from optimizer.core.landscape.logit import fit_logit, weigh_evidence
from optimizer.core.landscape.shrinkage import posterior_shifts
from optimizer.core.landscape.slope import (
    MIN_JITTER_SD,
    clustered_error,
    day_levels,
    mean_by_group,
    segment_days,
    slope_counts,
)
from optimizer.errors import DataError

DAYS_PLANNED_ALIKE = 7
"""The plan behind logged bids is estimated by week: a plan that changes faster counts as variation and is tested."""

MAX_SERIAL_CORRELATION = 0.15
"""Random draws of two days are not correlated; a plan that follows a market is (an AR(1) of .7 shows as .5 to .7)."""

TEST_Z = 2.58
"""A test fails at 99 % confidence, and only where what it found is large enough to matter (`MAX_BIAS_SHARE`)."""

MAX_BIAS_SHARE = 0.25
"""A placebo effect or a difference between two slopes below this share of the slope does not matter."""

LEAST_DAYS_IN_A_WEEK = 4

MAX_PROJECTIONS = 60


@dataclass(frozen=True, slots=True)
class RandomnessTest:
    """One test of the logged variation: passed where `figure` is at most `limit`, or at least, as `relation` says."""

    name: str
    figure: float
    relation: str
    limit: float
    is_passed: bool


def group_numbers(cells: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    """Return a number for each distinct combination, shape (n_cells,); all 0 without a column."""
    if not by:
        return np.zeros(len(cells), dtype=np.int64)
    return number_combinations([pd.factorize(cells[name])[0] for name in by])


@dataclass(frozen=True, slots=True)
class _Logged:
    """Logged rows, taken apart: log base bid = effects of segment and week + effects of key features and day + jitter.

    All arrays have the shape (n_cells,). `together` is what moved with the market or with a key feature on a day.
    """

    cells: pd.DataFrame
    segment: np.ndarray
    week: np.ndarray
    together: np.ndarray
    jitter: np.ndarray


def _take_apart(cells: pd.DataFrame, key: Sequence[str]) -> _Logged:
    weights, log_base = cells["bids"].to_numpy(float), cells["log_base"].to_numpy(float)
    week = ((cells["day"].max() - cells["day"]).dt.days // DAYS_PLANNED_ALIKE).to_numpy()
    segment = group_numbers(cells, key)
    own = group_numbers(cells.assign(week=week, segment=segment), ["week", "segment"])
    moving = [group_numbers(cells, ["day"]), *(group_numbers(cells, ["day", feature]) for feature in key)]
    jitter, together = log_base.copy(), np.zeros(len(cells))
    for _ in range(MAX_PROJECTIONS):
        before = jitter.copy()
        jitter = jitter - _means(jitter, own, weights)
        for group in moving:
            mean = _means(jitter, group, weights)
            jitter, together = jitter - mean, together + mean
        if np.abs(jitter - before).max() < 1e-7:
            break
    return _Logged(cells, segment, week, together, jitter)


def _means(values: np.ndarray, group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return mean_by_group(values, group, weights=weights, size=int(group.max()) + 1)[group]


def check_randomness(cells: pd.DataFrame, key: Sequence[str]) -> tuple[pd.Series, tuple[RandomnessTest, ...]]:
    """The estimated plan of each row, and the tests of what is left."""
    logged = _take_apart(cells, key)
    planned = pd.Series(cells["log_base"].to_numpy(float) - logged.jitter, index=cells.index)
    weights = cells["bids"].to_numpy(float)
    spread = float(np.sqrt(np.average(logged.jitter**2, weights=weights)))
    tests = [RandomnessTest("spread", spread, ">=", MIN_JITTER_SD, spread >= MIN_JITTER_SD)]
    if tests[0].is_passed:
        tests.append(_test_serial(logged))
        tests += _test_outcomes(logged, key)
    return planned, tuple(tests)


def _test_serial(logged: _Logged) -> RandomnessTest:
    """Draws of consecutive days are independent; the correlation allows for the weekly mean that was taken off."""
    weights = logged.cells["bids"].to_numpy(float)
    frame = pd.DataFrame(
        {
            "segment": logged.segment,
            "week": logged.week,
            "day": logged.cells["day"].to_numpy(),
            "bids": weights,
            "moved": weights * (logged.cells["log_base"].to_numpy(float) - logged.together),
        }
    )
    days = frame.groupby(["segment", "week", "day"], sort=True)[["bids", "moved"]].sum().reset_index()
    days["moved"] /= days["bids"]
    weekly = days.groupby(["segment", "week"])["moved"]
    days["count"] = weekly.transform("size")
    days["moved"] -= weekly.transform("mean")
    days = days[days["count"] >= LEAST_DAYS_IN_A_WEEK]
    later = days.groupby(["segment", "week"])
    is_next = later["day"].shift(-1) == days["day"] + pd.Timedelta(days=1)
    pairs = (
        pd.DataFrame(
            {
                "product": (days["moved"] * later["moved"].shift(-1)).where(is_next, 0.0),
                "pairs": is_next.astype(float),
                "squares": days["moved"] ** 2,
                "size": days["count"],
                "segment": days["segment"],
            }
        )
        .groupby([days["segment"], days["week"]])[["product", "pairs", "squares", "size"]]
        .agg({"product": "sum", "pairs": "sum", "squares": "sum", "size": "first"})
    )
    variance = pairs["squares"] / (pairs["size"] - 1)
    # Two deviations from the mean of n independent draws correlate by -1/(n - 1): taken back.
    scored = pairs["product"] + pairs["pairs"] * variance / pairs["size"]
    # Where bids vary within a segment and day too, what days share is a part of the variation, and counts as that.
    daily = float((pairs["pairs"] * variance).sum())
    all_of_it = float(np.average(logged.jitter**2, weights=weights)) * float(pairs["pairs"].sum())
    mass = max(daily, all_of_it)
    figure = float(scored.sum() / mass) if mass > 0 else 0.0
    error = float(np.sqrt(((scored - figure * pairs["pairs"] * variance) ** 2).sum()) / mass) if mass > 0 else np.inf
    is_passed = figure <= MAX_SERIAL_CORRELATION or figure - TEST_Z * error <= 0
    return RandomnessTest("serial_correlation", figure, "<=", MAX_SERIAL_CORRELATION, is_passed)


def _test_outcomes(logged: _Logged, key: Sequence[str]) -> list[RandomnessTest]:
    """Placebo (tomorrow's jitter must not explain today's wins), Hausman (finer effects must not change the slope)."""
    try:
        fit = _fit(logged, [logged.jitter])
    except DataError:
        return []  # wins and losses do not identify a slope; the identifiability gate reports it
    value, error = fit[0]
    tests = []
    if (lead := _placebo(logged)) is not None:
        effect, lead_error = lead
        is_passed = bool(abs(effect) <= TEST_Z * lead_error or abs(effect) <= MAX_BIAS_SHARE * abs(value))
        tests.append(
            RandomnessTest("placebo", abs(effect / value) if value else np.inf, "<=", MAX_BIAS_SHARE, is_passed)
        )
    if (finer := _finer(logged, key)) is not None:
        other, other_error = finer
        difference = other - value
        spread = np.sqrt(abs(other_error**2 - error**2)) + 1e-12
        is_passed = bool(abs(difference) <= TEST_Z * spread or abs(difference) <= MAX_BIAS_SHARE * abs(other))
        tests.append(
            RandomnessTest("hausman", abs(difference / other) if other else np.inf, "<=", MAX_BIAS_SHARE, is_passed)
        )
    return tests


def _fit(logged: _Logged, columns: Sequence[np.ndarray], rows: np.ndarray | None = None) -> list[tuple[float, float]]:
    """Coefficient and clustered standard error of each column, controlling for days and segment levels."""
    rows = np.ones(len(logged.cells), dtype=bool) if rows is None else rows
    cells, segment = logged.cells[rows], np.unique(logged.segment[rows], return_inverse=True)[1]
    bids, wins = slope_counts(cells)
    overall = np.full(len(cells), np.log(max(wins.sum(), 0.5) / max(bids.sum() - wins.sum(), 0.5)))
    shift, _ = posterior_shifts(overall, wins=wins, bids=bids, group=segment, size=int(segment.max()) + 1)
    columns = [column[rows] for column in columns]
    design = day_levels(cells, np.column_stack([*columns, shift[segment], logged.together[rows]]))
    fit = fit_logit(design, wins=wins, trials=bids)
    evidence = weigh_evidence(design.predict(fit.coefficients), wins=wins, trials=bids)
    cluster = segment_days(cells, segment)
    return [
        (float(fit.coefficients[number]), clustered_error(design, number, evidence, cluster=cluster))
        for number in range(len(columns))
    ]


def _placebo(logged: _Logged) -> tuple[float, float] | None:
    """The effect of the next day's jitter of the same segment; None if too few rows have one."""
    weights = logged.cells["bids"].to_numpy(float)
    frame = pd.DataFrame({"segment": logged.segment, "day": logged.cells["day"].to_numpy()})
    sums = frame.assign(bids=weights, jitter=weights * logged.jitter).groupby(["segment", "day"]).sum()
    daily = (sums["jitter"] / sums["bids"]).rename("lead").reset_index()
    daily["day"] -= pd.Timedelta(days=1)
    lead = frame.merge(daily, how="left", on=["segment", "day"])["lead"].to_numpy()
    known = ~np.isnan(lead)
    if weights[known].sum() < 0.2 * weights.sum() or np.nanstd(lead) < MIN_JITTER_SD / 2:
        return None
    try:
        return _fit(logged, [np.nan_to_num(lead), logged.jitter], known)[0]
    except DataError:
        return None


def _finer(logged: _Logged, key: Sequence[str]) -> tuple[float, float] | None:
    """The slope with finer effects: of segment and day if bids vary within them, else of pairs of key features."""
    weights = logged.cells["bids"].to_numpy(float)
    within = logged.jitter - _means(logged.jitter, segment_days(logged.cells, logged.segment), weights)
    if np.sqrt(np.average(within**2, weights=weights)) < MIN_JITTER_SD:
        if len(key) < 3:
            return None
        within = logged.jitter
        pairs = [
            group_numbers(logged.cells, ["day", first, second])
            for number, first in enumerate(key)
            for second in key[number + 1 :]
        ]
        for _ in range(10):
            for group in pairs:
                within = within - _means(within, group, weights)
        if np.sqrt(np.average(within**2, weights=weights)) < MIN_JITTER_SD:
            return None
    try:
        return _fit(logged, [within])[0]
    except DataError:
        return None
