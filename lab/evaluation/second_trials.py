"""The second family's figures for the table: one run on the log, and daily runs fed back."""

from dataclasses import replace

import numpy as np

from lab.evaluation.goals import TrialFigures
from lab.evaluation.second_family import ClosedLoop, OpenLoop, judge_closed_loop, judge_open_loop
from lab.evaluation.second_figures import SecondFigures
from lab.second_market.scenarios import SCENARIOS, Scenario

SECOND_LOOP_DAYS = 7
STANDARD_BIDS = 300_000
"""The scenarios' own numbers of bids are those of a log of this size."""

MOST_OVER_IDEAL = 1.15

SECOND_NAMES = tuple(SCENARIOS)


ALL_WORLDS = "second: all worlds"


def try_second(name: str, seed: int, *, bids: int, loop_days: int) -> list[TrialFigures]:
    """Return the figures of one seed of a scenario, and those that are judged over all worlds together.

    Figures that are not to be judged in a scenario are NaN:

    said_right: learning or held where the log shows no slope, a shortfall where the target is out of reach, bids on an
        identified slope elsewhere. overbid_promoted: it would go live by itself, above 1.15 times the ideal bid.
    cpm_over_flat, cpm_over_ideal: where it moved its bids. forecast_gap: where the target is out of reach. loop_...: of
        the days of the closed loop; runs that hold at first have learned the slope from their own jitter by then.
    """
    scenario = _scaled(SCENARIOS[name], bids)
    judged = judge_open_loop(scenario, seed)
    loop = judge_closed_loop(scenario, seed, days=loop_days) if loop_days else None
    figures = replace(_open_figures(scenario, judged), second=_shown(scenario, judged, loop))
    if loop is not None:
        figures = replace(figures, **_loop_figures(scenario, loop))
    return [
        TrialFigures(ALL_WORLDS, "optimizer", seed, false_feature=float(judged.has_false_feature)),
        figures,
    ]


def _scaled(scenario: Scenario, bids: int) -> Scenario:
    per_day = max(1, round(scenario.market.bids_a_day * bids / STANDARD_BIDS))
    return replace(scenario, market=replace(scenario.market, bids_a_day=per_day))


def _open_figures(scenario: Scenario, judged: OpenLoop) -> TrialFigures:
    outcome, has_moved = judged.outcome, judged.said in ("naive", "bids")
    is_to_reach = scenario.expected == "reach" or (scenario.expected == "either" and has_moved)
    has_margin = scenario.market.margin_win_rate is not None
    return TrialFigures(
        scenario=f"second: {scenario.name}",
        method="optimizer",
        seed=judged.seed,
        achieved=outcome.achieved,
        gap=judged.gap if is_to_reach and scenario.can_reach_next_week else np.nan,
        cpm=outcome.cpm,
        ideal_cpm=outcome.ideal_cpm,
        slope=judged.slope,
        true_slope=judged.true_slope,
        said_right=float(judged.is_right),
        cpm_over_flat=outcome.cpm_over_flat if has_moved and _is_flat_beatable(scenario) else np.nan,
        cpm_over_ideal=outcome.cpm_over_ideal if has_moved and scenario.is_base else np.nan,
        overbid_promoted=_is_overbid(judged.is_promoted, outcome.bid_over_ideal),
        forecast_covered=judged.win_rate.covers(outcome.achieved),
        cpm_forecast_covered=judged.cpm.covers(outcome.cpm),
        forecast_gap=outcome.achieved - judged.win_rate.value if scenario.expected == "shortfall" else np.nan,
        margin_broken=outcome.margin_broken if has_margin else np.nan,
        largest_move=judged.largest_move,
    )


def _loop_figures(scenario: Scenario, loop: ClosedLoop) -> dict[str, float]:
    has_moved = any(day.said in ("naive", "bids") for day in loop.days)
    overbid = [_is_overbid(day.is_promoted, day.outcome.bid_over_ideal) for day in loop.days]
    return {
        "loop_gap": loop.gap if scenario.expected in ("reach", "hold") else np.nan,
        "loop_cpm_over_flat": loop.cpm_over_flat if has_moved and _is_flat_beatable(scenario) else np.nan,
        "loop_forecast_covered": loop.forecast_covered,
        "loop_overbid_promoted": max(overbid),
        "loop_largest_move": loop.largest_move,
    }


def _shown(scenario: Scenario, judged: OpenLoop, loop: ClosedLoop | None) -> SecondFigures:
    outcome, target = judged.outcome, scenario.target_win_rate
    return SecondFigures(
        note=scenario.note,
        target_win_rate=target,
        win_rate=outcome.achieved,
        forecast=judged.win_rate.value,
        loop_win_rate=np.nan if loop is None else target + loop.gap,
        last_win_rate=np.nan if loop is None else target + loop.last_gap,
        cpm_over_flat=outcome.cpm_over_flat,
        loop_cpm_over_flat=np.nan if loop is None else loop.cpm_over_flat,
        cpm_over_ideal=outcome.cpm_over_ideal,
        bid_over_ideal=outcome.bid_over_ideal,
        said=judged.said,
        is_right=judged.is_right,
        is_promoted=judged.is_promoted,
    )


def _is_overbid(is_promoted: bool, bid_over_ideal: float) -> float:
    return float(is_promoted and bid_over_ideal > MOST_OVER_IDEAL)


def _is_flat_beatable(scenario: Scenario) -> bool:
    """In second price one bid for all is the cheapest there is; where bids are held, they are the log's own."""
    return not scenario.market.is_second_price and scenario.expected in ("reach", "either")
