"""The data of a report: one value with everything that the page shows of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.checks.outcome import CheckRecord, going_live, held_by, outcome_text
from optimizer.core.landscape.features import FeatureScore
from optimizer.core.pricing.backtest import Backtest

WinRate = Callable[[Any, Any, Any], np.ndarray]
"""(level, slope, bid_cpm) -> P(win); shapes broadcast."""


@dataclass(frozen=True, slots=True, eq=False)
class RunStory:
    """A run, ready to be shown. Money is CPM, rates are shares of one, times are UTC.

    active_run_id: the run that carried the traffic before this one, None where there was none.
    win_rate_scope: portfolio or segment, what has to reach the target.
    bids: the bid table, one row a segment: segment_key, bids, wins, level, slope, trust_low_cpm, trust_high_cpm,
        mean_bid_cpm, recent_bids and recent_win_rate (of the latest days), previous_bid_cpm (NaN where the active run
        has none), planned_bid_cpm and suggested_bid_cpm (NaN: no bid), expected_win_rate, observed_win_rate, reason and
        is_served.
    win_rate: the win-rate curve that `level` and `slope` of the bid table belong to.
    features: every candidate in key order, the chosen ones first.
    figures: the run's figures, as staged by compute_bids; None for what could not be computed.
    learning_sentence: since when the run learns, what is missing and until when; None where it knows the slope.
    target_sentence: what can be reached and what limits it, None where the target is reached.
    calibration: predicted, observed (win rates) and bids of each bin of the test days; empty where unknown.
    backtest: None where none was made.
    domains: domain, multiplier, bids; None where domains have no multipliers.
    npi_multipliers: shape (n_npis,), the multipliers alone: no identifier of a professional ever reaches a report.
    """

    run_id: str
    run_code: str
    entity_code: str
    window_start: datetime
    window_end: datetime
    created_at: datetime
    active_run_id: str | None
    target_win_rate: float
    win_rate_scope: str
    target_margin: float
    max_bid_cpm: float
    bids: pd.DataFrame
    win_rate: WinRate
    features: Sequence[FeatureScore]
    figures: Mapping[str, Any]
    checks: Sequence[CheckRecord]
    calibration: Sequence[Mapping[str, float]] = ()
    backtest: Backtest | None = None
    domains: pd.DataFrame | None = None
    npi_multipliers: np.ndarray | None = None
    target_sentence: str | None = None
    learning_sentence: str | None = None

    @property
    def is_passed(self) -> bool:
        """Whether every hard check passed."""
        return all(check.is_passed for check in self.checks if check.severity == "hard")

    @property
    def outcome(self) -> str:
        """`passed`, `passed with n warnings` or `failed`."""
        warnings = sum(not check.is_passed for check in self.checks)
        return outcome_text(self._status, warnings) or ""

    @property
    def going_live(self) -> str:
        """What the outcome means for going live."""
        holds = held_by(self.checks)
        return going_live(self._status, sum(not check.is_passed for check in self.checks), holds=holds)

    @property
    def _status(self) -> str:
        return "passed" if self.is_passed else "failed"
