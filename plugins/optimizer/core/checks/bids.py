"""Do the bids keep their bounds, the daily step and the jitter, and do they reach the target?"""

import numpy as np
import pandas as pd

from optimizer.core.checks.measures import BidMeasures
from optimizer.core.checks.outcome import Check, Severity
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.checks.stability import MAX_STABILITY_INDEX
from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.bid_bounds import CENT
from optimizer.core.pricing.bid_jitter import LEAST_JITTER_SD
from optimizer.core.pricing.target_reach import TargetReach
from optimizer.core.records.bid_figures import BidFigures

MIN_WIN_RATE_SHARE = 0.9
MAX_MISSED_BY_INTERVAL = 0.02
MAX_BOUND_SHARE = 0.5
MIN_JITTER_SHARE = 0.25
MAX_HELD_MOVE = 0.25
"""Jitter that is cut off on one side moves the mean of a held bid, by less than this."""

MAX_JITTER_SHARE = 1.5
MAX_KEY_COUNT_CHANGE = 0.5

BIDS = (
    Rule(
        name="incomparable_active_runs",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="the active run's bids cannot be read",
        next_step="deploy another run and run again, or set require_comparison=false for one run",
    ),
    Rule(
        name="bids_count",
        severity="hard",
        relation=">=",
        limit_text="1",
        problem="no segment can be bid on",
        next_step="compare floors, max_bid_cpm and target_margin",
    ),
    Rule(
        name="bids_outside_bounds",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="bids are below 0.01 or above max_bid_cpm",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
    Rule(
        name="largest_step",
        severity="hard",
        relation="<=",
        limit_text="daily_step_limit",
        problem="a served bid moves further in a day than daily_step_limit allows",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
    Rule(
        name="unidentified_move",
        severity="hard",
        relation="<=",
        limit_text="0.25",
        problem="a bid moves although the log does not show what a higher or lower bid would win there",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
    Rule(
        name="jitter_spread",
        severity="hard",
        relation=">=",
        limit_text="0.005",
        problem="the served bids hardly vary around the planned ones, so that tomorrow's run cannot learn from them",
        next_step="compare the bids with max_bid_cpm and the floors, which cut the jitter off",
    ),
    Rule(
        name="jitter_excess",
        severity="hard",
        relation="<=",
        limit_text="1.5 x jitter",
        problem="the served bids vary more around the planned ones than the jitter",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
    Rule(
        name="expected_win_rate",
        severity="hold",
        relation=">=",
        limit_text="0.9 x target_win_rate",
        problem="the target is missed within margin, cap, trust band and step",
        next_step="look at what bounds the bids in report.html",
    ),
    Rule(
        name="bid_stability_index",
        severity="soft",
        relation="<=",
        limit_text="0.07",
        problem="the planned bids moved by about this share since the active run",
        next_step="look at the largest changes in report.html",
    ),
    Rule(
        name="key_count_change",
        severity="soft",
        relation="<=",
        limit_text="0.5",
        problem="the number of served keys changed by more than half against the active run",
        next_step="compare the features of both runs",
    ),
    Rule(
        name="share_at_cap_or_floor",
        severity="soft",
        relation="<=",
        limit_text="0.5",
        problem="most bids are at the cap or at the floor",
        next_step="compare floors and max_bid_cpm",
    ),
)

_RULES = by_name(BIDS)


def bid_checks(
    bids: pd.DataFrame,
    measured: BidMeasures,
    *,
    figures: BidFigures,
    reach: TargetReach,
    settings: RunSettings,
) -> list[Check]:
    """Return the checks of the bid table.

    Args:
        figures: what compute_bids noted: the active run's figures, step_limit and jitter_sd.
        reach: how far the target is reached.
    """
    return [
        _comparison_check(figures.active_run_problem, settings),
        _RULES["bids_count"].check(measured.segments_count, 1),
        _RULES["bids_outside_bounds"].check(_outside(bids, figures.fallback_bid_cpm, settings), 0),
        *_step_checks(measured, figures),
        *_jitter_checks(measured, figures),
        _target_check(measured.win_rate, figures, reach, settings),
        *_RULES["bid_stability_index"].check_known(measured.stability_index, MAX_STABILITY_INDEX),
        *_RULES["key_count_change"].check_known(
            _change(measured.segments_in_memcache, figures.active_segments_in_memcache), MAX_KEY_COUNT_CHANGE
        ),
        _RULES["share_at_cap_or_floor"].check(measured.bound_share, MAX_BOUND_SHARE),
    ]


def _comparison_check(problem: str | None, settings: RunSettings) -> Check:
    severity: Severity = "hard" if settings.require_comparison else "soft"
    text = None if problem is None else f"{problem}, so the daily step cannot be kept"
    return _RULES["incomparable_active_runs"].check(0 if problem is None else 1, 0, problem=text, severity=severity)


def _outside(bids: pd.DataFrame, fallback_cpm: float, settings: RunSettings) -> int:
    bid = np.append(bids["suggested_bid_cpm"].dropna().to_numpy(float), fallback_cpm)
    return int(((bid < CENT - 1e-9) | (bid > settings.max_bid_cpm + 1e-9)).sum())


def _step_checks(measured: BidMeasures, figures: BidFigures) -> list[Check]:
    return [
        _RULES["largest_step"].check(measured.largest_step, figures.step_limit + 1e-9),
        _RULES["unidentified_move"].check(measured.held_move, MAX_HELD_MOVE),
    ]


def _jitter_checks(measured: BidMeasures, figures: BidFigures) -> list[Check]:
    jitter = figures.jitter_sd
    return [
        _RULES["jitter_spread"].check(measured.jitter_spread, MIN_JITTER_SHARE * LEAST_JITTER_SD),
        _RULES["jitter_excess"].check(measured.jitter_spread, MAX_JITTER_SHARE * jitter + 2 * measured.rounding_spread),
    ]


def _target_check(win_rate: float, figures: BidFigures, reach: TargetReach, settings: RunSettings) -> Check:
    """A run that misses its target is held, unless bids are on their way to it: held, it would never arrive."""
    limit = MIN_WIN_RATE_SHARE * settings.target_win_rate
    high = figures.expected_win_rate_high
    if high is not None and high < settings.target_win_rate - MAX_MISSED_BY_INTERVAL:
        limit = max(limit, settings.target_win_rate - MAX_MISSED_BY_INTERVAL)
    shortfall = reach.shortfall(settings)
    return _RULES["expected_win_rate"].check(
        win_rate,
        limit,
        problem=None if shortfall is None else shortfall.problem,
        next_step=None if shortfall is None else shortfall.next_step,
        severity="soft" if reach.is_on_its_way else "hold",
    )


def _change(new: float, old: float | None) -> float | None:
    return abs(new / old - 1) if old else None
