"""What a run said of itself: whether it learns, what it promised, and whether it would go live by itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import pandas as pd

from optimizer.core.bidding import FALLBACK
from optimizer.core.settings import RunSettings
from optimizer.core.validation import Verdict, judge
from optimizer.pipeline import validating
from optimizer.truth.log import ExtractedLog
from optimizer.truth.trial import TrialRun

Said = Literal["learning", "held", "naive", "bids"]

KEPT = 0.02
"""A bid that moved by less than this share was kept, apart from jitter."""


@dataclass(frozen=True, slots=True)
class Promise:
    """An expected figure of the next days with its 95 % interval; NaN where the run gives none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, figures: Mapping[str, Any], name: str) -> "Promise":
        """Return what the run's figures hold under `name`, `name_low` and `name_high`."""
        return cls(*(_number(figures.get(key)) for key in (name, f"{name}_low", f"{name}_high")))

    def covers(self, truth: float) -> float:
        """Return 1 where the interval holds the truth, 0 where it does not, NaN where there is none."""
        return math.nan if math.isnan(self.low + self.high) else float(self.low <= truth <= self.high)


def said_by(run: TrialRun) -> Said:
    """Return what the run says it does: it learns, it holds what was bid, it bids on a naive slope, or it bids."""
    figures = run.priced.figures
    if figures.get("is_learning"):
        return "learning"
    decided = run.priced.bids.loc[run.priced.bids["suggested_bid_cpm"].notna(), "reason"]
    if run.report.is_held or decided.isin(["held", FALLBACK]).all():
        return "held"
    return "naive" if run.report.is_slope_naive else "bids"


def promised_shortfall(run: TrialRun, *, target_win_rate: float) -> float:
    """Return how far below the target the run itself expects to stay."""
    return max(0.0, target_win_rate - Promise.of(run.priced.figures, "expected_win_rate").value)


def verdict_of(run: TrialRun, log: ExtractedLog, *, settings: RunSettings, active: TrialRun | None = None) -> Verdict:
    """Return the verdict of the run's validation: whether it would go live by itself."""
    figures = run.priced.figures | {
        "active_run_problem": None,
        **{
            f"active_{name}": None if active is None else active.priced.figures[name]
            for name in ("row_coverage", "segments_in_memcache")
        },
    }
    days = log.cells.groupby("day", sort=True)[["bids", "wins"]].sum()
    end = datetime.fromisoformat(str(pd.Timestamp(days.index[-1]) + timedelta(days=1)) + "+00:00")
    inputs = {
        "data_start_dt": (end - timedelta(days=len(days))).isoformat(),
        "data_end_dt": end.isoformat(),
        "recent_bids_per_day": [],
        "active_run_id": None if active is None else active.run_id,
    }
    found = {**log.totals.as_dict(), "days": days.to_dict("records")}
    backtest = None if run.backtest is None else run.backtest.to_record()
    return judge(
        [
            *validating._data_checks(found, inputs, settings),
            *validating._model_checks(run.report, settings),
            *validating._bid_checks(run.priced.bids, figures, settings),
            *validating._backtest_checks(backtest, inputs, settings),
        ]
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
