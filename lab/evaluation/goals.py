"""The goals, and whether they were reached: one line per goal, over all seeds of a scenario."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lab.evaluation.second_figures import SecondFigures


@dataclass(frozen=True, slots=True)
class TrialFigures:
    """What one trial left for the table; a figure that a scenario does not have is NaN.

    is_refused: the optimizer refused or held all bids, because the log does not identify the slope.
    slope_covered, backtest_covered: share of its intervals that hold the truth.
    bid_change: mean relative change of bids against the same log without dirt.
    forecast_held, canary_held, halved_found, halved_canary_found, early_told: see lab.evaluation.live_judgement.
    what_if_...: share of the 95 % intervals that hold the truth, see lab.evaluation.what_if_judgement.
    good_blamed to mismatch_found: shares of a seed's worlds, see lab.evaluation.live_trials.
    said_right and all below: of the second family, see lab.evaluation.second_trials.
    """

    scenario: str
    method: str
    seed: int
    achieved: float = np.nan
    gap: float = np.nan
    segment_error: float = np.nan
    landscape_error: float = np.nan
    bid_over_ideal: float = np.nan
    cpm: float = np.nan
    ideal_cpm: float = np.nan
    slope: float = np.nan
    true_slope: float = np.nan
    slope_covered: float = np.nan
    backtest_covered: float = np.nan
    backtest_refused: float = np.nan
    bid_change: float = np.nan
    is_refused: float = np.nan
    forecast_held: float = np.nan
    canary_held: float = np.nan
    halved_found: float = np.nan
    halved_canary_found: float = np.nan
    early_told: float = np.nan
    what_if_win_rate: float = np.nan
    what_if_cpm: float = np.nan
    what_if_spend: float = np.nan
    what_if_margin: float = np.nan
    what_if_shadow_price: float = np.nan
    what_if_limits: float = np.nan
    good_blamed: float = np.nan
    borderline_blamed: float = np.nan
    bad_found: float = np.nan
    bad_found_day: float = np.nan
    bad_found_later: float = np.nan
    savings_covered: float = np.nan
    honest_taken_off: float = np.nan
    overspend_found: float = np.nan
    honest_alarmed: float = np.nan
    mismatch_found: float = np.nan
    said_right: float = np.nan
    cpm_over_flat: float = np.nan
    cpm_over_ideal: float = np.nan
    overbid_promoted: float = np.nan
    forecast_covered: float = np.nan
    cpm_forecast_covered: float = np.nan
    false_feature: float = np.nan
    largest_move: float = np.nan
    loop_gap: float = np.nan
    loop_cpm_over_flat: float = np.nan
    loop_forecast_covered: float = np.nan
    loop_overbid_promoted: float = np.nan
    loop_largest_move: float = np.nan
    forecast_gap: float = np.nan
    margin_broken: float = np.nan
    second: SecondFigures | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table: a statistic of the seeds' figures and where it has to lie."""

    text: str
    figure: str
    statistic: Callable[[np.ndarray], float]
    low: float
    high: float

    def reach(self, trials: Sequence[TrialFigures]) -> "Reached | None":
        """Return what the trials reached, None where none has the figure; NaN where only some have."""
        figures = np.array([getattr(trial, self.figure) for trial in trials], float)
        return None if np.isnan(figures).all() else Reached(self, float(self.statistic(figures)), len(figures))


@dataclass(frozen=True, slots=True)
class Reached:
    """A goal with the figure over that many seeds."""

    goal: Goal
    figure: float
    seeds: int

    @property
    def is_met(self) -> bool:
        return self.goal.low <= self.figure <= self.goal.high

    @property
    def missed_by(self) -> float:
        """How far outside its bounds the figure is; 0 where it is met."""
        if np.isnan(self.figure):
            return np.inf
        return max(self.goal.low - self.figure, self.figure - self.goal.high, 0.0)


def _mean_size(figures: np.ndarray) -> float:
    return float(np.abs(figures).mean())


def _mean_known(figures: np.ndarray) -> float:
    """The mean over the seeds that have the figure, e.g. in which bids moved at all."""
    return float(np.nanmean(figures))


GOALS = (
    Goal("|achieved - target win rate|", "gap", _mean_size, 0.0, 0.03),
    Goal("segment error", "segment_error", np.mean, 0.0, 0.05),
    Goal("bid over ideal", "bid_over_ideal", np.mean, 0.93, 1.10),
    Goal("landscape error", "landscape_error", np.mean, 0.0, 0.05),
    Goal("slope's 95 % interval covers", "slope_covered", np.mean, 0.90, 1.0),
    Goal("backtest's 95 % interval covers", "backtest_covered", np.mean, 0.90, 1.0),
    Goal("bids change by dirt", "bid_change", np.mean, 0.0, 0.01),
    Goal("flat bids refused or held", "is_refused", np.mean, 1.0, 1.0),
    Goal("a run that meets its forecast is on target", "forecast_held", np.mean, 0.90, 1.0),
    Goal("a canary as good as its control is on target", "canary_held", np.mean, 0.90, 1.0),
    Goal("halved bids are below the forecast", "halved_found", np.mean, 0.90, 1.0),
    Goal("halved bids are below the control", "halved_canary_found", np.mean, 0.90, 1.0),
    Goal("after two days it is too early", "early_told", np.mean, 1.0, 1.0),
    Goal("what-if's 95 % intervals cover: win rate", "what_if_win_rate", np.mean, 0.90, 1.0),
    Goal("what-if's 95 % intervals cover: CPM", "what_if_cpm", np.mean, 0.90, 1.0),
    Goal("what-if's 95 % intervals cover: spend", "what_if_spend", np.mean, 0.90, 1.0),
    Goal("what-if's 95 % intervals cover: margin", "what_if_margin", np.mean, 0.90, 1.0),
    Goal("what-if's 95 % intervals cover: shadow price", "what_if_shadow_price", _mean_known, 0.90, 1.0),
    Goal("what-if's 95 % intervals cover: limits", "what_if_limits", np.mean, 0.90, 1.0),
    Goal("14 looks: a run as good is below target", "good_blamed", np.mean, 0.0, 0.05),
    Goal("the same, short by just the tolerance", "borderline_blamed", np.mean, 0.0, 0.05),
    Goal("14 looks: win rate .24, not .30, is found", "bad_found", np.mean, 0.99, 1.0),
    Goal("day on which it is found, mean", "bad_found_day", np.mean, 0.0, 7.0),
    Goal("days later than by intervals read once", "bad_found_later", np.mean, 0.0, 1.0),
    Goal("14 looks: savings interval covers on all", "savings_covered", np.mean, 0.95, 1.0),
    Goal("30 looks: an honest run is taken off", "honest_taken_off", np.mean, 0.0, 0.01),
    Goal("one look: three times the CPM is taken off", "overspend_found", np.mean, 0.99, 1.0),
    Goal("30 looks: an honest split alarms", "honest_alarmed", np.mean, 0.0, 0.01),
    Goal("one look: 30 % instead of 20 % alarms", "mismatch_found", np.mean, 0.99, 1.0),
    Goal("the run says what is right here", "said_right", np.mean, 0.90, 1.0),
    Goal("CPM over one flat bid's", "cpm_over_flat", _mean_known, 0.0, 1.0),
    Goal("CPM over ideal", "cpm_over_ideal", _mean_known, 0.0, 1.025),
    Goal("|achieved - forecast win rate|", "forecast_gap", _mean_size, 0.0, 0.03),
    Goal("bids that break the margin", "margin_broken", np.mean, 0.0, 0.0),
    Goal("goes live by itself above 1.15 x ideal", "overbid_promoted", np.mean, 0.0, 0.0),
    Goal("95 % forecast of the win rate covers", "forecast_covered", np.mean, 0.90, 1.0),
    Goal("95 % forecast of the CPM covers", "cpm_forecast_covered", np.mean, 0.90, 1.0),
    Goal("a false feature is chosen", "false_feature", np.mean, 0.0, 0.02),
    Goal("largest served move of a first run", "largest_move", np.max, 0.0, 0.16),
    Goal("days 3 to 7: |achieved - target|", "loop_gap", _mean_size, 0.0, 0.02),
    Goal("days 3 to 7: CPM over one flat bid's", "loop_cpm_over_flat", _mean_known, 0.0, 1.0),
    Goal("daily 95 % forecasts cover", "loop_forecast_covered", np.mean, 0.90, 1.0),
    Goal("a day's run does, above 1.15 x ideal", "loop_overbid_promoted", np.mean, 0.0, 0.0),
    Goal("largest served move in a day", "loop_largest_move", np.max, 0.0, 0.16),
)
