"""Which part of the logged bids varied at random: the only part that identifies the slope of the win rate.

Jitter that this optimizer drew is known exactly: the planned bid of every key is on file. Variation that someone else
logged counts only where it passes every test for being random; where it fails, bids are held and the failed test is
reported.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.cells import MISSING, OWN_JITTER
from optimizer.core.hidden_floors import above_hidden_floors, find_hidden_floors
from optimizer.core.logit import fit_logit, weigh_evidence
from optimizer.core.shrinkage import posterior_shifts
from optimizer.core.slope import (
    IDENTIFIED_ERROR_SHARE,
    MIN_JITTER_SD,
    STEEPEST_SLOPE,
    Slope,
    clustered_error,
    day_levels,
    find_slope,
    mean_by_group,
    randomised_rows,
    recent_priced_rows,
    segment_days,
    slope_counts,
)
from optimizer.errors import DataError

SAME_PRICE_SPREAD = 0.01
"""Base bids whose logs differ by less than this, within a day, were set alike; buckets and cents differ by as much."""

LEAST_SPREAD_GAIN = 0.02
"""A feature joins the key of the logged bids only where it lowers their variance within a day by this share."""

DAYS_PLANNED_ALIKE = 7
"""The plan behind logged bids is estimated by week: a plan that changes faster counts as variation and is tested."""

MAX_SERIAL_CORRELATION = 0.15
"""Random draws of two days are not correlated; a plan that follows a market is (an AR(1) of .7 shows as .5 to .7)."""

TEST_Z = 2.58
"""A test fails at 99 % confidence, and only where what it found is large enough to matter (`MAX_BIAS_SHARE`)."""

MAX_BIAS_SHARE = 0.25
"""A placebo effect or a difference between two slopes below this share of the slope does not matter."""

USUAL_SLOPE = 2.0
"""Slope that is assumed for how long learning takes, before one is known to be positive."""

LEARNING_JITTER_SD = 0.06
"""Spread of the jitter within a daily step of 15 %."""

CLUSTERED_SHARE = 0.5
"""Bids of one segment and day share one jitter and one market: they say this share of what separate ones would."""

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
    meaning: str


@dataclass(frozen=True, slots=True)
class Variation:
    """What of the log's bids varied at random.

    source: "own" (jitter of this optimizer), "logged" (someone else's that passed all tests, own jitter included) or
        "none".
    slope: what it says, before any model: its value, its standard error, and whether that identifies it; None where
        nothing varied.
    own_days, own_bids: days and bids with jitter of this optimizer.
    logged_bids: bids of other optimizers that were tested; logged_key: the features that their base bids depend on.
    tests: in the order in which they were made; empty where no logged variation had to be tested.
    own_since: the first of the own days (YYYY-MM-DD), None without any.
    """

    source: str
    slope: Slope | None
    own_days: int
    own_bids: float
    logged_bids: float = 0.0
    logged_key: tuple[str, ...] = ()
    tests: tuple[RandomnessTest, ...] = ()
    own_since: str | None = None

    @property
    def failed(self) -> tuple[RandomnessTest, ...]:
        return tuple(test for test in self.tests if not test.is_passed)

    def to_record(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; a figure that is not finite becomes None."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case bool() | np.bool_():
            return bool(value)
        case float() | np.floating():
            return float(value) if np.isfinite(value) else None
        case np.integer():
            return int(value)
        case _:
            return value


def days_until_identified(
    own_slope: Slope | None,
    *,
    own_days: int,
    bids_per_day: float,
    win_rate: float,
    jitter_sd: float = LEARNING_JITTER_SD,
) -> float | None:
    """Return after how many more days of jitter the slope's standard error is a quarter of the slope.

    None where days do not help: nothing is bid, won or varied, or the curve is a step. With jitter in the log its error
    falls by the root of the days; before that it is that of a logistic regression, with half the bids' evidence.

    Args:
        own_slope: from the `own_days` with jitter of this optimizer; None before there is any.
        win_rate: expected of the next days; jitter_sd: spread of the log of the bids around their plan.
    """
    is_seen = own_slope is not None and own_days > 0 and 0 < own_slope.error < np.inf
    slope, known = USUAL_SLOPE, 0.0
    per_day = CLUSTERED_SHARE * bids_per_day * win_rate * (1 - win_rate) * jitter_sd**2
    if is_seen and own_slope is not None:
        known = own_slope.error**-2
        per_day = known / own_days
        if own_slope.value - 1.96 * own_slope.error > 0:
            slope = own_slope.value
    if not per_day > 0 or slope > STEEPEST_SLOPE:
        return None
    return max(1.0, float(((IDENTIFIED_ERROR_SHARE * slope) ** -2 - known) / per_day))


def learn_variation(
    cells: pd.DataFrame, candidates: Sequence[str], *, anchor: str | None = None
) -> tuple[pd.DataFrame, Variation]:
    """Return the cells with `log_planned` on the bids that varied at random, and what is known of that variation.

    Args:
        cells: prepared; `log_planned` is known of the bids of this optimizer's runs and NaN elsewhere.
        candidates: features that the logged base bids may depend on. One that they do not depend on changes nothing.
        anchor: the feature by which hidden floors are looked for; bids below one say nothing of the rivals.
    """
    rows = recent_priced_rows(cells)
    if anchor in cells.columns and len(rows):
        group = _groups(rows, [anchor])
        floors = find_hidden_floors(rows, group=group, size=int(group.max()) + 1)
        rows = rows[above_hidden_floors(rows, group=group, floors=floors)]
    is_own = rows["log_planned"].notna()
    own, logged = rows[is_own], rows[~is_own]
    own_slope = find_slope(own, _groups(own, candidates))
    cells = cells.assign(**{OWN_JITTER: cells["log_planned"].notna()})
    counts: dict[str, Any] = {
        "own_days": int(own["day"].nunique()),
        "own_bids": float(own["bids"].sum()),
        "own_since": None if own.empty else own["day"].min().date().isoformat(),
    }
    is_own_known = own_slope is not None and own_slope.is_identified
    if logged.empty:
        return cells, Variation("own" if is_own_known else "none", own_slope, **counts)
    key = find_bid_key(logged, candidates)
    # What was bid on a null value may depend on what was null: its plan is not known.
    logged = logged[~(logged[list(key)] == MISSING).any(axis=1)]
    if logged.empty:
        return cells, Variation("own" if is_own_known else "none", own_slope, **counts, logged_key=key)
    centred, tests = _test_logged(logged, key)
    known = {**counts, "logged_bids": float(logged["bids"].sum()), "logged_key": key, "tests": tests}
    if all(test.is_passed for test in tests):
        both = cells.assign(log_planned=cells["log_planned"].fillna(centred))
        rows = randomised_rows(both.loc[rows.index])
        slope = find_slope(rows, _groups(rows, key))
        if slope is not None and slope.is_identified and _agree(own_slope, slope):
            return both, Variation("logged", slope, **known)
    return cells, Variation("own" if is_own_known else "none", own_slope, **known)


def _agree(own: Slope | None, together: Slope) -> bool:
    """Whether this optimizer's jitter, which is known to be random, does not contradict the slope of all variation."""
    return own is None or abs(own.value - together.value) <= TEST_Z * own.error


def find_bid_key(cells: pd.DataFrame, candidates: Sequence[str]) -> tuple[str, ...]:
    """Return the features that the base bids of the cells were set by: with them, a day's bids differ least.

    Greedy, by the variance within groups per degree of freedom: a column of random values, whatever its cardinality,
    splits the bids into small groups and leaves that variance as it was.
    """
    log_base, bids = cells["log_base"].to_numpy(float), cells["bids"].to_numpy(float)

    def variance(features: Sequence[str]) -> tuple[float, float]:
        """Within the groups of a day, with its relative standard error."""
        group = _groups(cells, ["day", *features])
        size = int(group.max()) + 1
        mean = mean_by_group(log_base, group, weights=bids, size=size)
        freedom = bids.sum() - size
        if freedom < 2:
            return np.inf, np.inf
        return float((bids * (log_base - mean[group]) ** 2).sum() / freedom), float(np.sqrt(2 / freedom))

    key: list[str] = []
    left = variance([])[0]
    while left > SAME_PRICE_SPREAD**2 and len(key) < len(candidates):
        tried = {feature: variance([*key, feature]) for feature in candidates if feature not in key}
        best = min(tried, key=lambda feature: (tried[feature][0], feature))
        found, error = tried[best]
        if found > left * (1 - max(LEAST_SPREAD_GAIN, 4 * error)):
            break
        key, left = [*key, best], found
    return tuple(key)


def _groups(cells: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    """A number for each distinct combination, shape (n_cells,); all 0 without a column."""
    if not by:
        return np.zeros(len(cells), dtype=np.int64)
    return cells.groupby(list(by), observed=True, sort=False).ngroup().to_numpy()


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
    segment = _groups(cells, key)
    own = _groups(cells.assign(week=week, segment=segment), ["week", "segment"])
    moving = [_groups(cells, ["day"]), *(_groups(cells, ["day", feature]) for feature in key)]
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


def _test_logged(cells: pd.DataFrame, key: Sequence[str]) -> tuple[pd.Series, tuple[RandomnessTest, ...]]:
    """The estimated plan of each row, and the tests of what is left."""
    logged = _take_apart(cells, key)
    planned = pd.Series(cells["log_base"].to_numpy(float) - logged.jitter, index=cells.index)
    weights = cells["bids"].to_numpy(float)
    spread = float(np.sqrt(np.average(logged.jitter**2, weights=weights)))
    tests = [
        RandomnessTest(
            "spread",
            spread,
            ">=",
            MIN_JITTER_SD,
            spread >= MIN_JITTER_SD,
            "apart from what moved with the market, with a key feature or with its own week, no bid was varied",
        )
    ]
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
    return RandomnessTest(
        "serial_correlation",
        figure,
        "<=",
        MAX_SERIAL_CORRELATION,
        is_passed,
        "bids that are high one day are high the next: they follow something, and that may be the rivals",
    )


def _test_outcomes(logged: _Logged, key: Sequence[str]) -> list[RandomnessTest]:
    """Placebo (tomorrow's jitter must not explain today's wins), Hausman (finer effects must not change the slope)."""
    try:
        fit = _fit(logged, [logged.jitter])
    except DataError:
        return []  # wins and losses do not tell a slope; the identifiability gate says so
    value, error = fit[0]
    tests = []
    if (lead := _placebo(logged)) is not None:
        effect, lead_error = lead
        is_passed = bool(abs(effect) <= TEST_Z * lead_error or abs(effect) <= MAX_BIAS_SHARE * abs(value))
        tests.append(
            RandomnessTest(
                "placebo",
                abs(effect / value) if value else np.inf,
                "<=",
                MAX_BIAS_SHARE,
                is_passed,
                "tomorrow's variation explains the wins of today, so bids followed what wins depend on",
            )
        )
    if (finer := _finer(logged, key)) is not None:
        other, other_error = finer
        difference = other - value
        spread = np.sqrt(abs(other_error**2 - error**2)) + 1e-12
        is_passed = bool(abs(difference) <= TEST_Z * spread or abs(difference) <= MAX_BIAS_SHARE * abs(other))
        tests.append(
            RandomnessTest(
                "hausman",
                abs(difference / other) if other else np.inf,
                "<=",
                MAX_BIAS_SHARE,
                is_passed,
                "the slope changes when effects of segments or pairs of features and day are taken off",
            )
        )
    return tests


def _fit(logged: _Logged, columns: Sequence[np.ndarray], rows: np.ndarray | None = None) -> list[tuple[float, float]]:
    """Coefficient and clustered standard error of each column, beside days and the segments' own levels."""
    rows = np.ones(len(logged.cells), dtype=bool) if rows is None else rows
    cells, segment = logged.cells[rows], np.unique(logged.segment[rows], return_inverse=True)[1]
    bids, wins = slope_counts(cells)
    overall = np.full(len(cells), np.log(max(wins.sum(), 0.5) / max(bids.sum() - wins.sum(), 0.5)))
    shift, _ = posterior_shifts(overall, wins=wins, bids=bids, group=segment, size=int(segment.max()) + 1)
    columns = [column[rows] for column in columns]
    design = np.column_stack([*columns, shift[segment], logged.together[rows], day_levels(cells)])
    fit = fit_logit(design, wins=wins, trials=bids)
    evidence = weigh_evidence(design @ fit.coefficients, wins=wins, trials=bids)
    cluster = segment_days(cells, segment)
    return [
        (float(fit.coefficients[number]), clustered_error(design, number, evidence, cluster=cluster))
        for number in range(len(columns))
    ]


def _placebo(logged: _Logged) -> tuple[float, float] | None:
    """The effect of the next day's jitter of the same segment; None where hardly a row has one."""
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
    """The slope beside finer effects: of segment and day where bids vary within them, else of pairs of key features."""
    weights = logged.cells["bids"].to_numpy(float)
    within = logged.jitter - _means(logged.jitter, segment_days(logged.cells, logged.segment), weights)
    if np.sqrt(np.average(within**2, weights=weights)) < MIN_JITTER_SD:
        if len(key) < 3:
            return None
        within = logged.jitter
        pairs = [
            _groups(logged.cells, ["day", first, second])
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
