"""Ratios of sums over days, with 95 % intervals that stay valid when they are read every day.

A day's auctions share its market, so days are the sample and not auctions. A ratio R = sum(part) / sum(whole) has one
linearized value a day, (part - R whole) / mean(whole); their spread over the days gives its standard error (Cochran,
Sampling Techniques, 3rd ed., section 6.3). Differences and quotients of ratios over the same days are linearized
together, so what a day did to both cancels.

Reading an interval each day gives it many chances to miss. The reach of an interval therefore follows an error-spending
plan (Lan and DeMets 1983, Biometrika 70): of an error of .05, the part 1 - (1.95 / days)^1.7 may be spent by that day.
Most of it is spent in the first week, when a bad run should be found.
Source: docs/optimizer.md, "Live figures".
"""

from dataclasses import dataclass

import numpy as np

_REACH = (np.inf, np.inf, 306.0, 6.29, 4.88, 4.46, 4.28, 4.19, 4.14)
"""By number of days, from 0: by how many standard errors an interval reaches to each side.

Four million simulated series of independent normal days were looked at on each day from the second on; the error spent
by a day follows the plan. `test_an_interval_that_is_read_every_day_misses_in_at_most_5_percent` checks it.
"""

_LATER_REACH = 4.14
"""The reach on later days, on which the plan leaves little to spend; the total error is .050 after 120 days."""


def reach(days: int) -> float:
    """Return by how many standard errors the interval reaches to each side on that day; infinite before the second."""
    return _REACH[days] if days < len(_REACH) else _LATER_REACH


@dataclass(frozen=True, slots=True)
class DailyRatio:
    """A ratio of sums over days, or what follows from several of them; arrays may have leading axes.

    value: shape (...); NaN where a denominator is not above 0.
    influence: shape (..., days); how far each day moves the value, times the number of days. Sums to 0 over the days.
    """

    value: np.ndarray
    influence: np.ndarray

    @classmethod
    def of(cls, part: np.ndarray, whole: np.ndarray) -> "DailyRatio":
        """Return sum(part) / sum(whole) of daily values with shape (..., days)."""
        days = whole.shape[-1]
        total = whole.sum(-1)
        value = divide(part.sum(-1), total)
        return cls(value, divide(days * (part - value[..., None] * whole), total[..., None]))

    @classmethod
    def constant(cls, value: float | None, *, days: int) -> "DailyRatio":
        """Return a value that no day moves, such as a forecast; None is not known."""
        return cls(np.asarray(np.nan if value is None else value, float), np.zeros(days))

    def __add__(self, other: "DailyRatio") -> "DailyRatio":
        return DailyRatio(self.value + other.value, self.influence + other.influence)

    def __sub__(self, other: "DailyRatio") -> "DailyRatio":
        return DailyRatio(self.value - other.value, self.influence - other.influence)

    def __mul__(self, other: "DailyRatio") -> "DailyRatio":
        moved = self.influence * other.value[..., None] + self.value[..., None] * other.influence
        return DailyRatio(self.value * other.value, moved)

    def __truediv__(self, other: "DailyRatio") -> "DailyRatio":
        value = divide(self.value, other.value)
        return DailyRatio(value, divide(self.influence - value[..., None] * other.influence, other.value[..., None]))

    @property
    def days(self) -> int:
        """How many days the ratio is over."""
        return self.influence.shape[-1]

    @property
    def margin_of_error(self) -> np.ndarray:
        """Half the width of the 95 % interval, shape (...); infinite with fewer than two days."""
        if self.days < 2:
            return np.full(self.value.shape, np.inf)
        return reach(self.days) * self.influence.std(-1, ddof=1) / self.days**0.5


def divide(part: np.ndarray | float, whole: np.ndarray | float) -> np.ndarray:
    """Return the ratio; NaN where the whole is not above 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0)
