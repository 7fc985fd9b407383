"""Did a run spend more on a day than it forecast? Its spend per bid, and its CPM, against the forecast.

One day has no variance between days. The lower bound of a ratio comes from its counts, on the log scale: wins are
binomial given the bids, prices are taken to vary by their mean, and a day may move a ratio by `DAY_SD` though nothing
is wrong. The lower end of the 95 % interval must exceed the bound.
Source: docs/optimizer.md, "Spend guard".
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from optimizer.core.live.performance import ForecastFigures

Z = 1.96
"""By how many standard errors the 95 % interval reaches to each side."""

DAY_SD = 0.1
"""By how much a day moves a ratio though nothing is wrong: its standard deviation, as a share."""

PRICE_CV = 1.0
"""The standard deviation of a win's price, as a share of its mean; prices of one client vary by less."""

LEAST_WINS = 30
"""With fewer wins the log of a ratio is too skewed for an interval."""


@dataclass(frozen=True, slots=True)
class Overspend:
    """A figure of a day against its forecast.

    Attributes:
        figure: spend, in currency units, or cpm.
        measured, forecast: in the figure's unit; the forecast spend is that of the bids that were placed.
        ratio: measured / forecast.
        ratio_low: the lower end of its 95 % interval.
    """

    figure: Literal["spend", "cpm"]
    measured: float
    forecast: float
    ratio: float
    ratio_low: float


def find_overspend(
    *, bids: float, wins: float, spend: float, forecast: ForecastFigures, max_overspend: float
) -> Overspend | None:
    """Return the figure that was furthest above the forecast, or None where no interval lies above the bound.

    Args:
        bids, wins: of a run on one day.
        spend: currency units.
        forecast: of the run; without win rate or CPM nothing can be said.
        max_overspend: how far a figure may exceed its forecast, as a share of it (0.5: half as much again).
    """
    if forecast.win_rate is None or forecast.cpm is None:
        return None
    expected = bids * forecast.win_rate * forecast.cpm / 1000
    if wins < LEAST_WINS or expected <= 0:
        return None
    cpm, errors = 1000 * spend / wins, standard_errors(bids, wins)
    found = (
        _overspend("spend", spend, expected, error=errors["spend"]),
        _overspend("cpm", cpm, forecast.cpm, error=errors["cpm"]),
    )
    sure = [overspend for overspend in found if overspend.ratio_low > 1 + max_overspend]
    return max(sure, key=lambda overspend: overspend.ratio_low, default=None)


def standard_errors(bids: float, wins: float) -> dict[Literal["spend", "cpm"], float]:
    """Return the standard errors of the logs of a day's spend and CPM, given at least one win."""
    of_prices = PRICE_CV**2 / wins
    of_wins = max(1 - wins / bids, 0.0) / wins
    return {
        "spend": (of_wins + of_prices + DAY_SD**2) ** 0.5,
        "cpm": (of_prices + DAY_SD**2) ** 0.5,
    }


def _overspend(figure: Literal["spend", "cpm"], measured: float, forecast: float, *, error: float) -> Overspend:
    ratio = measured / forecast
    return Overspend(figure, measured, forecast, ratio, ratio * float(np.exp(-Z * error)))
