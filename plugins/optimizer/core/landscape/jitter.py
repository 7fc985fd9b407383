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

from optimizer.core.landscape.cells import MISSING, OWN_JITTER
from optimizer.core.landscape.hidden_floors import HiddenFloors
from optimizer.core.landscape.randomness import TEST_Z, RandomnessTest, check_randomness, group_numbers
from optimizer.core.landscape.slope import (
    IDENTIFIED_ERROR_SHARE,
    STEEPEST_SLOPE,
    Slope,
    find_slope,
    mean_by_group,
    randomised_rows,
    recent_priced_rows,
)

SAME_PRICE_SPREAD = 0.01
"""Base bids whose logs differ by less within a day count as equal; buckets and cents alone make such a difference."""

LEAST_LOGGED_SLOPE = 0.7
"""Bids that follow their rivals make a curve look flat. Markets have slopes of 1 to 4; a flatter one, from bids of
others, is not used, regardless of its error.
"""

LEAST_SPREAD_GAIN = 0.02
"""A feature joins the key of the logged bids only where it lowers their variance within a day by this share."""

USUAL_SLOPE = 2.0
"""Slope that is assumed for how long learning takes, before one is known to be positive."""

LEARNING_JITTER_SD = 0.06
"""Spread of the jitter within a daily step of 15 %."""

CLUSTERED_SHARE = 0.5
"""Bids of one segment and day share one jitter and one market: they say this share of what separate ones would."""


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
    cells: pd.DataFrame, candidates: Sequence[str], *, floors: HiddenFloors | None = None
) -> tuple[pd.DataFrame, Variation]:
    """Return the cells with `log_planned` on the bids that varied at random, and what is known of that variation.

    Args:
        cells: prepared; `log_planned` is known of the bids of this optimizer's runs and NaN elsewhere.
        candidates: features that the logged base bids may depend on. One that they do not depend on changes nothing.
        floors: the hidden floors of the cells; bids below one say nothing of the rivals.
    """
    rows = recent_priced_rows(cells)
    is_above = pd.Series(True, index=cells.index)
    if floors is not None:
        is_above = pd.Series(floors.is_above, index=cells.index)
        rows = rows[floors.is_above_fixed[cells.index.get_indexer(rows.index)]]
    # Floors that follow the bids do not change whether those were random: their rows are tested, but show no slope.
    is_own = rows["log_planned"].notna()
    own, logged = rows[is_own & is_above[rows.index]], rows[~is_own]
    rows = rows[is_above[rows.index]]
    own_slope = find_slope(own, group_numbers(own, candidates))
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
    centred, tests = check_randomness(logged, key)
    centred = centred[is_above[logged.index]]
    known = {**counts, "logged_bids": float(logged["bids"].sum()), "logged_key": key, "tests": tests}
    if all(test.is_passed for test in tests):
        both = cells.assign(log_planned=cells["log_planned"].fillna(centred))
        rows = randomised_rows(both.loc[rows.index])
        slope = find_slope(rows, group_numbers(rows, key))
        if slope is not None and slope.is_identified:
            known["tests"] = (*tests, _test_plausibility(slope), *_test_agreement(own_slope, slope))
            if all(test.is_passed for test in known["tests"]):
                return both, Variation("logged", slope, **known)
    return cells, Variation("own" if is_own_known else "none", own_slope, **known)


def _test_plausibility(slope: Slope) -> RandomnessTest:
    return RandomnessTest("plausibility", slope.value, ">=", LEAST_LOGGED_SLOPE, slope.value >= LEAST_LOGGED_SLOPE)


def _test_agreement(own: Slope | None, together: Slope) -> list[RandomnessTest]:
    """This optimizer's jitter, which is known to be random, must not contradict the slope of all variation."""
    if own is None or not np.isfinite(own.error):
        return []
    gap = abs(own.value - together.value)
    return [RandomnessTest("agreement", gap / own.error, "<=", TEST_Z, gap <= TEST_Z * own.error)]


def find_bid_key(cells: pd.DataFrame, candidates: Sequence[str]) -> tuple[str, ...]:
    """Return the features that the base bids of the cells were set by: with them, a day's bids differ least.

    Greedy, by the variance within groups per degree of freedom: a column of random values, whatever its cardinality,
    splits the bids into small groups and leaves that variance as it was.
    """
    log_base, bids = cells["log_base"].to_numpy(float), cells["bids"].to_numpy(float)

    def variance(features: Sequence[str]) -> tuple[float, float]:
        """Within the groups of a day, with its relative standard error."""
        group = group_numbers(cells, ["day", *features])
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
