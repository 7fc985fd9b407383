"""The second family's figures for the table: one run on the log, and daily runs fed back."""

from dataclasses import replace

import numpy as np

from optimizer.second_market.scenarios import SCENARIOS, Scenario
from optimizer.truth.goals import TrialFigures
from optimizer.truth.second_family import ClosedLoop, OpenLoop, judge_closed_loop, judge_open_loop

SECOND_LOOP_DAYS = 7
STANDARD_BIDS = 300_000
"""The scenarios' own numbers of bids are those of a log of this size."""

MOST_OVER_IDEAL = 1.15

SECOND_NAMES = tuple(SCENARIOS)


def try_second(name: str, seed: int, *, bids: int, loop_days: int) -> TrialFigures:
    """Return the figures of one seed of a scenario; those that are not to be judged in it are NaN.

    said_right: learning or held where the log tells no slope, a shortfall where the target is out of reach, bids on an
        identified slope elsewhere. overbid_promoted: it would go live by itself, above 1.15 times the ideal bid.
    cpm_over_flat, cpm_over_ideal: only where it moved its bids. loop_...: of the days of the closed loop.
    """
    scenario = _scaled(SCENARIOS[name], bids)
    figures = _open_figures(scenario, judge_open_loop(scenario, seed))
    if not loop_days:
        return figures
    return _with_loop(figures, scenario, judge_closed_loop(scenario, seed, days=loop_days))


def _scaled(scenario: Scenario, bids: int) -> Scenario:
    per_day = max(1, round(scenario.market.bids_a_day * bids / STANDARD_BIDS))
    return replace(scenario, market=replace(scenario.market, bids_a_day=per_day))


def _open_figures(scenario: Scenario, judged: OpenLoop) -> TrialFigures:
    outcome, can_reach = judged.outcome, scenario.expected == "reach" and scenario.can_reach_next_week
    has_moved = judged.said in ("naive", "bids")
    return TrialFigures(
        scenario=f"second: {scenario.name}",
        method="optimizer",
        seed=judged.seed,
        achieved=outcome.achieved,
        gap=judged.gap if can_reach else np.nan,
        cpm=outcome.cpm,
        ideal_cpm=outcome.ideal_cpm,
        slope=judged.slope,
        true_slope=judged.true_slope,
        said_right=float(judged.is_right),
        cpm_over_flat=outcome.cpm / outcome.flat_cpm if has_moved and _is_flat_beatable(scenario) else np.nan,
        cpm_over_ideal=outcome.cpm / outcome.ideal_cpm if has_moved and scenario.is_base else np.nan,
        overbid_promoted=float(judged.is_promoted and outcome.bid_over_ideal > MOST_OVER_IDEAL),
        promise_covered=judged.win_rate.covers(outcome.achieved),
        false_feature=float(judged.has_false_feature),
        largest_move=judged.largest_move,
    )


def _with_loop(figures: TrialFigures, scenario: Scenario, loop: ClosedLoop) -> TrialFigures:
    has_moved = any(day.said in ("naive", "bids") for day in loop.days)
    return replace(
        figures,
        loop_gap=loop.gap if scenario.expected == "reach" else np.nan,
        loop_cpm_over_flat=loop.cpm_over_flat if has_moved and _is_flat_beatable(scenario) else np.nan,
        loop_promise_covered=loop.promise_covered,
        loop_largest_move=loop.largest_move,
    )


def _is_flat_beatable(scenario: Scenario) -> bool:
    """In second price one bid for all is the cheapest there is; where bids are held, they are the log's own."""
    return not scenario.market.is_second_price and scenario.expected == "reach"
