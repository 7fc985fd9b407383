"""The data of a report: one value with everything that the page shows of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.checks.outcome import CheckRecord, going_live, held_by, outcome_text
from optimizer.core.landscape.features import FeatureScore
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.pricing.bid_steps import RunPricing
from optimizer.core.pricing.expected_spend import ValueSpend
from optimizer.core.pricing.run_comparison import AnchorChange
from optimizer.core.records.estimate import Estimate

WinRate = Callable[[Any, Any, Any], np.ndarray]
"""(level, slope, bid_cpm) -> P(win); shapes broadcast."""


@dataclass(frozen=True, slots=True)
class SpendTable:
    """Spend a day by the values of a feature, the largest first.

    is_expected: what the run's bids are expected to bring; False: what the window's log had.
    parts: empty where nothing is known.
    """

    feature: str
    is_expected: bool
    parts: tuple[ValueSpend, ...]


@dataclass(frozen=True, slots=True)
class ComparedWith:
    """A run that is live: what it forecast, and what was measured of it since.

    forecast: figures of `optimizer.reporting.forecast`, e.g. expected_win_rate.
    measured: win_rate, cpm and margin where they were measured.
    days, last_day: of the measurement; 0 and None before there is one.
    """

    run_id: str
    forecast: Mapping[str, float | None]
    measured: Mapping[str, Estimate]
    days: int = 0
    last_day: date | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LiveComparison:
    """The run next to what is live when it is priced.

    live: the run with the traffic. control: the run that bids what was usual, None where the entity has none.
    against_control: win_rate, cpm and margin of all runs but the control, less the control's, on the same days.
    savings: sentences on what was saved against the control.
    changes: of `optimizer.core.pricing.served_changes`; None where the runs' segment keys differ, or problem says why.
    anchors: mean bids by the anchor's values where the segment keys differ.
    problem: why the bids of the live run cannot be compared with.
    """

    live: ComparedWith
    control: ComparedWith | None = None
    against_control: Mapping[str, Estimate] = field(default_factory=dict)
    savings: tuple[str, ...] = ()
    changes: pd.DataFrame | None = None
    anchors: tuple[AnchorChange, ...] = ()
    problem: str | None = None


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
    coarse_sentence: how the log was read coarser because of max_cells; None where it was not.
    target_sentence: what can be reached and what limits it, None where the target is reached.
    calibration: predicted, observed (win rates) and bids of each bin of the test days; empty where unknown.
    backtest: None where none was made.
    domains: domain, multiplier, bids; None where domains have no multipliers.
    npi_multipliers: shape (n_npis,), the multipliers alone: no identifier of a professional ever reaches a report.
    key_features: of the segment key, in order.
    pricing: what all segments share when they are priced.
    spend: by each feature of the key, by state and by domain.
    live: None where no run was live when this one was priced.
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
    key_features: tuple[str, ...]
    pricing: RunPricing
    calibration: Sequence[Mapping[str, float]] = ()
    backtest: Backtest | None = None
    domains: pd.DataFrame | None = None
    npi_multipliers: np.ndarray | None = None
    target_sentence: str | None = None
    learning_sentence: str | None = None
    coarse_sentence: str | None = None
    spend: Sequence[SpendTable] = ()
    live: LiveComparison | None = None

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
