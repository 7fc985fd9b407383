"""From what was learned to what is bid: the part of compute_bids that needs no system."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.checks.measures import measure_bids
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape
from optimizer.core.landscape.slope import IDENTIFIED_ERROR_SHARE
from optimizer.core.pricing.bids import (
    CENT,
    LEAST_JITTER_SD,
    MIN_VALUE_TRUST,
    BidPlan,
    BidPolicy,
    plan_bids,
    step_bounds,
)
from optimizer.core.pricing.forecast import WEEK_DAYS, DayLevel, Expected, forecast_figures, read_outlook
from optimizer.core.pricing.multipliers import (
    BidResponse,
    bid_response,
    domain_multipliers,
    multiplier_link,
    npi_multipliers,
)
from optimizer.core.serving.keys import segment_key
from optimizer.training.job import TrainingReport

JITTER_SD = {"off": LEAST_JITTER_SD, "on": 0.10, "aggressive": 0.15}
LEAST_JITTER_SHARE = 0.3
"""Jitter shrinks as the slope is known, to no less than this share: markets change, and learning must go on."""

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

HOPELESS_LEVEL = -30.0
"""Level of a segment whose bid cannot win, logit units."""

FOLLOWING_ROUNDS = 3
"""Bids, and the floor that follows them, are found in turn: a share below 1 of what one moves comes back."""

ONE_DAY_STEP = 1.0
"""Below this daily step a run is for the next day, whose floor follows what was served before it."""

TRUST_WIDENING = {"on": 0.25, "aggressive": 0.50}
AGGRESSIVE_STEP_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Learned:
    """What a run knows when it prices: the segments and report of training, the cells of domains and NPIs.

    total_clicks: of the window; how far the value of a click-paid impression can be trusted depends on it.
    level_correction: what the last days' wins say of the forecasts that earlier runs made, logit units.
    """

    segments: pd.DataFrame
    report: TrainingReport
    features: Sequence[str]
    domain_cells: pd.DataFrame | None
    npi_totals: pd.DataFrame | None
    total_clicks: int
    level_correction: float = 0.0


@dataclass(frozen=True, slots=True)
class PricedRun:
    """The bid table, the multipliers where they are enabled, and the figures of the run."""

    bids: pd.DataFrame
    domains: pd.DataFrame | None
    npis: pd.DataFrame | None
    landscape: Landscape
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ActiveBids:
    """What the active run bids, by the new run's segment keys, CPM, and its fallback.

    step_from_cpm: the served bids that the daily step is measured from.
    kept_cpm: what bids go back to while they are held; the planned ones by default.
    """

    planned_cpm: Mapping[str, float]
    step_from_cpm: Mapping[str, float]
    fallback_cpm: float
    kept_cpm: Mapping[str, float] | None = None


def price_run(learned: Learned, *, settings: RunSettings, active: ActiveBids | None, run_id: str) -> PricedRun:
    """Return bids and multipliers; `active` is None before a run was live.

    Every key of the window has a bid of its own; keys that the bidder has never seen get the fallback.
    """
    report = learned.report
    policy = bid_policy(settings, report, total_clicks=learned.total_clicks)
    domains = npis = None
    response = _bid_response(learned, policy)
    if settings.domain_enabled and learned.domain_cells is not None:
        domains = domain_multipliers(learned.domain_cells, slope=report.bid_coefficient, response=response)
    if settings.npi_enabled and learned.npi_totals is not None:
        npis = npi_multipliers(learned.npi_totals, response=response)
    link = multiplier_link(
        [table for table in (domains, npis) if table is not None and len(table)],
        requests=float(learned.segments["bids"].sum()),
        slope=report.slope,
        tails=report.tails,
    )
    # Multipliers differ by request: with them no base bid is above a round price for all.
    is_multiplied = any((table["multiplier"] != 1.0).any() for table in (domains, npis) if table is not None)
    steps = None if is_multiplied else report.price_steps
    landscape = Landscape(report.reference_cpm, link, steps)
    priceable = segments = _priceable(learned, settings, active)
    plan = plan_bids(segments, landscape=landscape, policy=policy, seed=run_id)
    is_followed = report.following_floor_share > 0 and not (report.is_held or report.is_slope_naive)
    for _ in range(FOLLOWING_ROUNDS if is_followed else 0):
        segments = _above_following_floor(priceable, plan, learned, policy)
        plan = plan_bids(segments, landscape=landscape, policy=policy, seed=run_id)
    fallback = _fallback_bid(segments, plan, active, policy)
    bids = _bid_table(segments, plan, landscape)
    figures = (
        _figures(bids, plan, policy, landscape)
        | _forecast(bids, learned, policy, landscape)
        | {
            "level_correction": learned.level_correction,
            "is_learning": report.is_slope_naive,
            "fallback_bid_cpm": fallback,
            "segment_scope_cpm_ratio": _segment_scope_ratio(segments, landscape, policy, run_id),
            "link": {name: getattr(link, name).tolist() for name in ("shifts", "shares")}
            | {
                "unrivalled_share": report.unrivalled_share,
                "lost_share": report.lost_share,
                "price_ladder": None if steps is None else steps.ladder,
                "price_ladder_share": 0.0 if steps is None else steps.share,
            },
            "domains_count": 0 if domains is None else len(domains),
            "npis_count": 0 if npis is None else len(npis),
        }
    )
    return PricedRun(bids, domains, npis, landscape, figures)


def _bid_response(learned: Learned, policy: BidPolicy) -> BidResponse:
    """How far the bids on single requests follow rivals' prices and click rates."""
    report, segments = learned.report, learned.segments
    spendable = policy.value_trust * (1 - policy.target_margin)
    return bid_response(
        slope=report.bid_coefficient,
        win_rate=float(segments["wins"].sum() / segments["bids"].sum()),
        bid_cpm=float(np.average(segments["usual_bid_cpm"], weights=segments["bids"])),
        click_value_cpm=spendable * 1000 * report.global_click_rate * report.value_per_click,
        view_value_cpm=spendable * report.value_per_mille_views,
        is_slope_known=not (report.is_slope_naive or report.is_held),
        is_second_price=policy.is_second_price,
    )


def bid_policy(settings: RunSettings, report: TrainingReport, *, total_clicks: int) -> BidPolicy:
    """Return what bounds the bids of a run with these settings."""
    mode = "aggressive" if settings.aggressive_exploration else "on"
    return BidPolicy(
        target_win_rate=settings.target_win_rate,
        win_rate_scope=settings.win_rate_scope,
        target_margin=settings.target_margin,
        max_bid_cpm=settings.max_bid_cpm,
        floor_available=settings.floor_available,
        jitter_sd=_jitter_sd(mode if settings.exploration_mode else "off", report),
        step_limit=settings.daily_step_limit * (AGGRESSIVE_STEP_FACTOR if settings.aggressive_exploration else 1.0),
        value_trust=value_trust(report, total_clicks=total_clicks),
        is_second_price=settings.auction_type == "second_price",
        is_aggressive=settings.aggressive_exploration,
    )


def value_trust(report: TrainingReport, *, total_clicks: int) -> float:
    """Return theta, 0 to 1: the mean value with clicks one standard error below what they earned, over the mean value.

    The sum of n clicks that earn m each, with coefficient of variation cv, has a variance of n m^2 (1 + cv^2): their
    count is Poisson. What views earn by themselves is known.
    """
    by_clicks = 1000 * report.global_click_rate * report.value_per_click
    value = by_clicks + report.value_per_mille_views
    if value <= 0 or not total_clicks:
        return report.value_per_mille_views / value if value > 0 else 0.0
    error = math.sqrt((1 + report.click_value_cv**2) / total_clicks)
    return max(0.0, 1.0 - error * by_clicks / value)


def _jitter_sd(mode: str, report: TrainingReport) -> float:
    """Full where the slope is barely known, less in proportion to its relative error: the cost falls by the square."""
    if mode != "on" or report.is_slope_naive or report.is_held:
        return JITTER_SD[mode]
    known = report.slope_error / (IDENTIFIED_ERROR_SHARE * report.slope)
    return JITTER_SD[mode] * float(np.clip(known, LEAST_JITTER_SHARE, 1.0))


def _priceable(learned: Learned, settings: RunSettings, active: ActiveBids | None) -> pd.DataFrame:
    """The segments with all that `plan_bids` needs."""
    report, segments = learned.report, learned.segments
    values = segments[list(learned.features)].astype("object").where(segments[list(learned.features)].notna(), None)
    keys = pd.Series([segment_key(row) for row in values.itertuples(index=False, name=None)], index=segments.index)
    planned, served = ({}, {}) if active is None else (dict(active.planned_cpm), dict(active.step_from_cpm))
    value_cpm = 1000 * segments["click_rate"] * report.value_per_click + report.value_per_mille_views
    widening = TRUST_WIDENING["aggressive" if settings.aggressive_exploration else "on"]
    flatness = np.sqrt(1 + np.pi / 8 * segments["level_error"] ** 2)
    usual = segments["recent_bid_cpm"]
    # A bid of 0 was none at all: nothing can be measured from it.
    before = keys.map(served).astype(float).fillna(0.0 if active is None else active.fallback_cpm)
    step_from = before.where(before > 0, usual)
    limit = settings.daily_step_limit * (AGGRESSIVE_STEP_FACTOR if settings.aggressive_exploration else 1.0)
    level = (segments["level"] + learned.level_correction) / flatness
    return _without_hope(
        segments.assign(
            segment_key=keys,
            requests=segments["recent_requests"],
            usual_bid_cpm=usual,
            previous_bid_cpm=_known_bids(keys, planned),
            kept_bid_cpm=_known_bids(keys, planned if active is None or active.kept_cpm is None else active.kept_cpm),
            step_from_cpm=step_from,
            flatness=flatness,
            level=level,
            slope=segments["slope"] / flatness,
            value_cpm=np.where(value_cpm > 0, value_cpm, np.nan),
            trust_low_cpm=report.served_bid_low_cpm * (1 - widening),
            trust_high_cpm=report.served_bid_high_cpm * (1 + widening),
            is_held=report.is_held | report.is_slope_naive | ~segments["is_slope_identified"],
            own_share=_own_share(segments),
        ),
        step_limit=limit,
        cap_cpm=settings.max_bid_cpm,
    )


def _without_hope(segments: pd.DataFrame, *, step_limit: float, cap_cpm: float) -> pd.DataFrame:
    """The segments; a bid that the daily step or the cap keeps below a hidden floor wins nothing."""
    highest = np.minimum(step_bounds(segments["step_from_cpm"].to_numpy(float), step_limit)[1], cap_cpm)
    return segments.assign(level=segments["level"].mask(segments["hidden_floor_cpm"] > highest, HOPELESS_LEVEL))


def _above_following_floor(segments: pd.DataFrame, plan: BidPlan, learned: Learned, policy: BidPolicy) -> pd.DataFrame:
    """The segments with the floors that will follow this plan; of daily runs also those that follow the bids before."""
    requests, anchor = segments["requests"], segments[learned.features[0]]

    def mean_bid(bid_cpm: pd.Series) -> pd.Series:
        mass = requests.where(bid_cpm.notna(), 0.0)
        sums = pd.DataFrame({"bid": mass * bid_cpm.fillna(0.0), "mass": mass}).groupby(anchor, dropna=False)
        total = sums.transform("sum")
        return (total["bid"] / total["mass"]).where(total["mass"] > 0, 0.0)

    followed = mean_bid(plan.table["suggested_bid_cpm"])
    if policy.step_limit < ONE_DAY_STEP:
        followed = followed.clip(lower=mean_bid(segments["step_from_cpm"]))
    floor = learned.report.following_floor_share * followed
    raised = segments.assign(hidden_floor_cpm=np.maximum(segments["hidden_floor_cpm"], floor))
    return _without_hope(raised, step_limit=policy.step_limit, cap_cpm=policy.max_bid_cpm)


def _known_bids(keys: pd.Series, bids_cpm: Mapping[str, float]) -> pd.Series:
    return keys.map({key: bid for key, bid in bids_cpm.items() if bid > 0}).astype(float)


def _fallback_bid(segments: pd.DataFrame, plan: BidPlan, active: ActiveBids | None, policy: BidPolicy) -> float:
    """The bid on keys never seen: the geometric mean, by requests, of all bids; it keeps cap, margin and daily step."""
    planned = plan.table["planned_bid_cpm"]
    rows = planned.notna() & (segments["requests"] > 0)
    if not rows.any():
        return 0.0
    requests = segments["requests"][rows]
    bid = float(np.exp(np.average(np.log(planned[rows]), weights=requests)))
    if active is not None and active.fallback_cpm > 0:
        step = policy.step_limit
        bid = min(max(bid, active.fallback_cpm * (1 - step)), active.fallback_cpm * (1 + step))
    value = segments["value_cpm"][rows]
    if policy.value_trust >= MIN_VALUE_TRUST and value.notna().all():
        bid = min(bid, (1 - policy.target_margin) * float(np.average(value, weights=requests)))
    cents = math.floor(min(bid, policy.max_bid_cpm) / CENT + 1e-9)
    return cents * CENT if cents >= 1 else 0.0


def _own_share(segments: pd.DataFrame) -> np.ndarray:
    """Share of a segment's level that is its own evidence, 0 to 1: what its error lost against the spread of all."""
    prior = float((segments["level_shift"] ** 2 + segments["level_error"] ** 2).mean())
    return (
        (1 - segments["level_error"].to_numpy(float) ** 2 / prior).clip(0, 1) if prior > 0 else np.ones(len(segments))
    )


def _bid_table(segments: pd.DataFrame, plan: BidPlan, landscape: Landscape) -> pd.DataFrame:
    """The segments with their bids and what is expected of them."""
    table = pd.concat([segments, plan.table], axis=1)
    can_bid = table["suggested_bid_cpm"].notna()
    level, slope = table["level"].to_numpy(float), table["slope"].to_numpy(float)
    return table.assign(
        is_served=can_bid,
        is_blocked=~can_bid,
        observed_win_rate=table["wins"] / table["bids"],
        modelled_win_rate=landscape.win_rate(level, slope, table["usual_bid_cpm"].to_numpy(float)),
        observed_ctr=(table["clicks"] / table["wins"]).where(table["wins"] > 0),
    )


def _segment_scope_ratio(segments: pd.DataFrame, landscape: Landscape, policy: BidPolicy, run_id: str) -> float | None:
    """What a win costs where every segment has to reach the target by itself, over what it costs otherwise.

    Both without the daily step, which only limits the move of one day.
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


def _figures(bids: pd.DataFrame, plan: BidPlan, policy: BidPolicy, landscape: Landscape) -> dict[str, Any]:
    measured = measure_bids(
        bids, landscape=landscape, is_second_price=policy.is_second_price, step_limit=policy.step_limit
    )
    biddable = bids[bids["suggested_bid_cpm"].notna()]
    won = biddable["requests"] * biddable["expected_win_rate"]
    value = (won * biddable["value_cpm"]).sum()
    return {
        **{name: getattr(measured, name) for name in MEASURED},
        "shadow_price_cpm": plan.shadow_price_cpm,
        "expected_win_rate": plan.expected_win_rate,
        "target_shortfall": max(0.0, policy.target_win_rate - plan.expected_win_rate),
        "expected_cpm": plan.expected_cpm,
        "expected_margin": float(1 - (won * biddable["expected_cost_cpm"]).sum() / value) if value > 0 else None,
        "trust_low_cpm": float(bids["trust_low_cpm"].min()),
        "trust_high_cpm": float(bids["trust_high_cpm"].max()),
        "jitter_sd": policy.jitter_sd,
        "step_limit": policy.step_limit,
        "compared_segments": int(biddable["previous_bid_cpm"].notna().sum()),
        "value_trust": policy.value_trust,
        "reasons": {reason: int(count) for reason, count in bids["reason"].value_counts().sort_index().items()},
    }


def _forecast(bids: pd.DataFrame, learned: Learned, policy: BidPolicy, landscape: Landscape) -> dict[str, float | None]:
    """What the suggested bids will bring in the next days, with intervals; empty where nothing is bid."""
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
        slope_error=report.slope_error if np.isfinite(report.slope_error) else report.slope,
        mean_move=float(np.average(moves, weights=requests)),
        mean_change=float(np.average(np.abs(slope * moves), weights=requests)),
        click_share=by_clicks / worth if worth > 0 else 0.0,
        clicks_ahead=clicks_ahead,
        clicks_seen=float(learned.total_clicks),
    )
