"""The win-rate curve of one segment, with its interval and what was seen: what a chart of it shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.landscape.binomial import Z_95, wilson_interval
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_bounds import CENT
from optimizer.core.pricing.bid_steps import known

POINTS = 81
_BELOW, _ABOVE = 0.5, 1.8
"""A curve is drawn from that part of the lowest bid of interest to that multiple of the highest."""


@dataclass(frozen=True, slots=True)
class SeenRate:
    """The win rate of the latest days at the bid that was usual on them, with its 95 % interval."""

    bid_cpm: float
    win_rate: float
    low: float
    high: float
    bids: int


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """Win rates at bids: the curve, and the ends of its 95 % interval; None where an error is not finite.

    seen: None where the segment had no bids lately, and for runs of older versions, which did not note it.
    """

    bid_cpm: tuple[float, ...]
    win_rate: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    seen: SeenRate | None


def segment_curve(row: Mapping[str, Any] | pd.Series, landscape: Landscape, *, level_sd: float = 0.0) -> CurvePoints:
    """Return the curve of a segment around its bids.

    The curve is what wins on average over all that is plausible, so it is flatter than each plausible curve; the
    interval is that of the plausible curves of the next days. They are known best at the usual bid, where slopes turn.

    Args:
        row: of suggested_bids.csv.
        level_sd: standard deviation of the level of the next days, which all segments share, logit units.
    """
    level, slope, flatness = (np.asarray(row[name], float) for name in ("level", "slope", "flatness"))
    usual = known(row.get("usual_bid_cpm"))
    bids = _span(row, usual)
    pivot = landscape.reference_cpm if usual is None else usual
    at_reference = np.log(bids / landscape.reference_cpm)
    own_logit = flatness * (level + slope * at_reference)
    with np.errstate(invalid="ignore"):  # an infinite error of the slope, at the pivot itself
        turn = float(row["slope_error"]) * np.log(bids / pivot)
    reach = Z_95 * np.sqrt(float(row["level_error"]) ** 2 + level_sd**2 + turn**2)
    ends = [landscape.win_rate(own_logit + side * reach, np.zeros(1), bids) for side in (-1, 1)]
    return CurvePoints(
        bid_cpm=tuple(bids.tolist()),
        win_rate=tuple(landscape.win_rate(level, slope, bids).tolist()),
        low=_finite(ends[0]),
        high=_finite(ends[1]),
        seen=None if usual is None else _seen(row, usual),
    )


def _seen(row: Mapping[str, Any] | pd.Series, usual: float) -> SeenRate | None:
    bids, views = (known(row.get(name)) for name in ("recent_bids", "recent_views"))
    if not bids or views is None:
        return None
    rate = min(1.0, views / bids)
    low, high = wilson_interval(np.float64(rate), np.float64(bids))
    return SeenRate(usual, rate, float(low), float(high), int(bids))


def _span(row: Mapping[str, Any] | pd.Series, usual: float | None) -> np.ndarray:
    of_interest = (usual, known(row["wanted_bid_cpm"]), known(row["suggested_bid_cpm"]))
    bids = [bid for bid in of_interest if bid is not None and bid > 0]
    return np.linspace(max(CENT, _BELOW * min(bids)), _ABOVE * max(bids), POINTS)


def _finite(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)
