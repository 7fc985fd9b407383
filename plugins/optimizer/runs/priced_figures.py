"""The figures of priced bids: what they are, what they are expected to bring, and the next days' forecast."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.checks.measures import measure_bids
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.core.pricing.bids import BidPlan, plan_bids
from optimizer.core.pricing.forecast import (
    WEEK_DAYS,
    BidMove,
    ClickValue,
    DayLevel,
    Expected,
    forecast_figures,
    read_outlook,
)
from optimizer.core.records.bid_figures import LinkRecord
from optimizer.runs.learned import Learned
from optimizer.training.job import TrainingReport

MEASURED = (
    "total_segments",
    "segments_count",
    "segments_in_memcache",
    "row_coverage",
    "bid_median",
    "bid_min",
    "bid_max",
    "jitter_spread",
    "largest_step",
)
"""Figures of a run that are measured from its bid table, by the same function as validation's."""


def measured_of(bids: pd.DataFrame, policy: BidPolicy, landscape: Landscape) -> dict[str, Any]:
    """Return the figures of `MEASURED`, from the bid table alone."""
    measured = measure_bids(
        bids, landscape=landscape, is_second_price=policy.is_second_price, step_limit=policy.step_limit
    )
    return {name: getattr(measured, name) for name in MEASURED}


def expected_of(bids: pd.DataFrame, plan: BidPlan, policy: BidPolicy) -> dict[str, Any]:
    """Return what the plan is expected to bring, and what bounds its bids."""
    biddable = bids[bids["suggested_bid_cpm"].notna()]
    won = biddable["requests"] * biddable["expected_win_rate"]
    value = (won * biddable["value_cpm"]).sum()
    return {
        "shadow_price_cpm": plan.shadow_price_cpm,
        "expected_win_rate": plan.expected_win_rate,
        "target_shortfall": max(0.0, policy.target_win_rate - plan.expected_win_rate),
        "expected_cpm": plan.expected_cpm,
        "expected_margin": float(1 - (won * biddable["expected_cost_cpm"]).sum() / value) if value > 0 else None,
        "trust_low_cpm": float(bids["trust_low_cpm"].min()),
        "trust_high_cpm": float(bids["trust_high_cpm"].max()),
        "compared_segments": int(biddable["previous_bid_cpm"].notna().sum()),
        "reasons": {reason: int(count) for reason, count in bids["reason"].value_counts().sort_index().items()},
    }


def segment_scope_ratio(segments: pd.DataFrame, landscape: Landscape, policy: BidPolicy, run_id: str) -> float | None:
    """Return what a win costs where every segment has to reach the target on its own, over what it costs otherwise.

    Both without the daily step, which would only show how far a day may go.
    """
    cpm = {
        scope: plan_bids(
            segments,
            landscape=landscape,
            policy=replace(policy, win_rate_scope=scope, step_limit=np.inf),
            seed=run_id,
        ).expected_cpm
        for scope in ("segment", "portfolio")
    }
    return cpm["segment"] / cpm["portfolio"] if cpm["portfolio"] > 0 else None


def link_record(landscape: Landscape, report: TrainingReport) -> LinkRecord:
    """Return what the landscape can be rebuilt from, with the tails as training reported them."""
    link, steps = landscape.link, landscape.steps
    return LinkRecord(
        shifts=tuple(link.shifts.tolist()),
        shares=tuple(link.shares.tolist()),
        unrivalled_share=report.unrivalled_share,
        lost_share=report.lost_share,
        price_ladder=None if steps is None else steps.ladder,
        price_ladder_share=0.0 if steps is None else steps.share,
    )


def forecast_next_days(
    bids: pd.DataFrame, learned: Learned, policy: BidPolicy, landscape: Landscape
) -> dict[str, float | None]:
    """Return what the suggested bids will bring in the next days, with intervals; empty where nothing is bid."""
    rows = bids[bids["suggested_bid_cpm"].notna() & (bids["requests"] > 0)]
    if rows.empty:
        return {}
    report, all_requests = learned.report, float(bids["requests"].sum())
    level, slope, bid, requests, value = (
        rows[name].to_numpy(float) for name in ("level", "slope", "suggested_bid_cpm", "requests", "value_cpm")
    )

    def expect(shift: float) -> Expected:
        won = requests * landscape.win_rate(level + shift, slope, bid)
        cost = won * (landscape.mean_price(level + shift, slope, bid) if policy.is_second_price else bid)
        worth = float((won * value).sum())
        margin = 1 - float(cost.sum()) / worth if worth > 0 else None
        return Expected(float(won.sum() / all_requests), float(cost.sum() / won.sum()), margin)

    moves = np.log(bid / rows["usual_bid_cpm"].to_numpy(float))
    outlook = read_outlook([DayLevel(**day) for day in report.day_levels])
    clicks_ahead = WEEK_DAYS * outlook.bids_per_day * expect(0.0).win_rate * report.global_click_rate
    by_clicks = 1000 * report.global_click_rate * report.value_per_click
    worth = by_clicks + report.value_per_mille_views
    return forecast_figures(
        expect,
        outlook=outlook,
        move=BidMove(
            slope_error=report.slope_error if np.isfinite(report.slope_error) else report.slope,
            mean_move=float(np.average(moves, weights=requests)),
            mean_change=float(np.average(np.abs(slope * moves), weights=requests)),
        ),
        clicks=ClickValue(by_clicks / worth if worth > 0 else 0.0, clicks_ahead, float(learned.total_clicks)),
    )
