"""What a run reported about itself: whether it learns, its forecast, and whether it would go live automatically."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import pandas as pd

from lab.evaluation.log import ExtractedLog
from lab.evaluation.trial import TrialRun
from optimizer.core.checks.backtest import backtest_checks
from optimizer.core.checks.bids import bid_checks
from optimizer.core.checks.data import LogWindow, data_checks
from optimizer.core.checks.measures import measure_bids
from optimizer.core.checks.model import model_checks
from optimizer.core.checks.outcome import Verdict, judge
from optimizer.core.checks.volume import volume_checks
from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.target_reach import measure_reach
from optimizer.core.records.bid_figures import BidFigures
from optimizer.core.records.window_totals import DayCount

Said = Literal["learning", "held", "naive", "bids"]

ENDS = ("low", "high")

COMPARED = ("row_coverage", "segments_in_memcache", "expected_win_rate", "expected_cpm")
"""Figures of the active run that the checks compare with."""

MOST_STEPPED = 0.3
"""Above this share of requests whose bid the daily step decides, a run is on its way to its target."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An expected figure of the next days with its 95 % interval; NaN where the run gives none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, figures: Mapping[str, Any], name: str, *, horizon: str = "") -> "Interval":
        """Return what the run's figures hold under `name`, with the interval of `name_low` and `name_high`.

        Args:
            horizon: `day` prefers `name_day_low` and `name_day_high`, the interval of a single day.
        """
        ends = (f"{name}_{horizon}_{end}" if f"{name}_{horizon}_{end}" in figures else f"{name}_{end}" for end in ENDS)
        return cls(*(_number(figures.get(key)) for key in (name, *ends)))

    def covers(self, truth: float) -> float:
        """Return 1 where the interval holds the truth, 0 where it does not, NaN where there is none."""
        return math.nan if math.isnan(self.low + self.high) else float(self.low <= truth <= self.high)


def said_by(run: TrialRun) -> Said:
    """Return what the run says it does: it learns, it holds what was bid, it bids on a naive slope, or it bids."""
    figures = run.priced.figures
    if figures.is_learning:
        return "learning"
    decided = run.priced.bids.loc[run.priced.bids["suggested_bid_cpm"].notna(), "reason"]
    if run.report.is_held or (decided == "held").all():
        return "held"
    return "naive" if run.report.is_slope_naive else "bids"


def forecast_shortfall(run: TrialRun, *, target_win_rate: float) -> float:
    """Return how far below the target the run itself expects to stay."""
    return max(0.0, target_win_rate - Interval.of(run.priced.figures.model_dump(), "expected_win_rate").value)


def is_on_its_way(run: TrialRun) -> bool:
    """Return whether the daily step decides most bids, so that the next runs get closer to the target."""
    bids = run.priced.bids
    return float(bids.loc[bids["reason"] == "step", "requests"].sum()) > MOST_STEPPED * float(bids["requests"].sum())


def verdict_of(run: TrialRun, log: ExtractedLog, *, settings: RunSettings, active: TrialRun | None = None) -> Verdict:
    """Return the verdict of the run's validation: whether it would go live by itself."""
    before = {} if active is None else {f"active_{name}": getattr(active.priced.figures, name) for name in COMPARED}
    figures = BidFigures(**run.priced.figures.model_dump(exclude_unset=True), **before)
    end = pd.Timestamp(log.cells["day"].max()).tz_localize("UTC") + timedelta(days=1)
    days = log.cells.groupby("day", sort=True)[["bids", "wins"]].sum()
    window = LogWindow(
        end - timedelta(days=len(days)), end, [DayCount.model_validate(day) for day in days.to_dict("records")]
    )
    bids, landscape = run.priced.bids, run.priced.landscape
    measured = measure_bids(
        bids,
        landscape=landscape,
        is_second_price=settings.auction_type == "second_price",
        step_limit=figures.step_limit,
    )
    reach = measure_reach(
        bids,
        landscape=landscape,
        settings=settings,
        value_trust=figures.value_trust,
        expected_win_rate=measured.win_rate,
    )
    move = max(abs(measured.spend_change or 0.0), measured.mean_move or 0.0)
    return judge(
        [
            *data_checks(log.totals, window, settings),
            *model_checks(run.report, settings),
            *volume_checks(measured, figures=figures, cells=log.cells, settings=settings),
            *bid_checks(bids, measured, figures=figures, reach=reach, settings=settings),
            *(backtest_checks(run.backtest, move=move, settings=settings) if active is not None else []),
        ]
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
