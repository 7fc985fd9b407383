"""From what was learned to what is bid: the part of compute_bids that needs no system."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bids import (
    CENT,
    MIN_VALUE_TRUST,
    BidPlan,
    BidPolicy,
    plan_bids,
)
from optimizer.core.pricing.multipliers import (
    BidResponse,
    bid_response,
    domain_multipliers,
    multiplier_link,
    npi_multipliers,
)
from optimizer.core.records.bid_figures import PricedFigures
from optimizer.runs.bid_policy import bid_policy
from optimizer.runs.learned import ActiveBids, Learned
from optimizer.runs.priceable import above_following_floor, priceable_segments
from optimizer.runs.priced_figures import expected_of, forecast_next_days, link_record, measured_of, segment_scope_ratio

FOLLOWING_ROUNDS = 3
"""Bids, and the floor that follows them, are found in turn: a share below 1 of what one moves comes back."""


@dataclass(frozen=True, slots=True)
class PricedRun:
    """The bid table, the multipliers where they are enabled, and the figures of the run."""

    bids: pd.DataFrame
    domains: pd.DataFrame | None
    npis: pd.DataFrame | None
    landscape: Landscape
    figures: PricedFigures


def price_run(learned: Learned, *, settings: RunSettings, active: ActiveBids | None, run_id: str) -> PricedRun:
    """Return bids and multipliers; `active` is None before a run was live.

    Every key of the window has a bid of its own; keys that the bidder has never seen get the fallback.
    """
    policy = bid_policy(settings, learned.report, total_clicks=learned.total_clicks)
    multipliers = _multipliers(learned, settings, policy)
    landscape = _landscape(learned, multipliers)
    priceable = priceable_segments(learned, policy, active)
    segments, plan = _plan(priceable, landscape, learned, policy, seed=run_id)
    bids = _bid_table(segments, plan, landscape)
    figures = PricedFigures(
        **measured_of(bids, policy, landscape),
        **expected_of(bids, plan, policy),
        **forecast_next_days(bids, learned, policy, landscape),
        jitter_sd=policy.jitter_sd,
        step_limit=policy.step_limit,
        value_trust=policy.value_trust,
        level_correction=learned.level_correction,
        is_learning=learned.report.is_slope_naive,
        fallback_bid_cpm=_fallback_bid(segments, plan, active, policy),
        segment_scope_cpm_ratio=segment_scope_ratio(segments, landscape, policy, run_id),
        link=link_record(landscape, learned.report),
        domains_count=0 if multipliers.domains is None else len(multipliers.domains),
        npis_count=0 if multipliers.npis is None else len(multipliers.npis),
    )
    return PricedRun(bids, multipliers.domains, multipliers.npis, landscape, figures)


@dataclass(frozen=True, slots=True)
class _Multipliers:
    """The multipliers of domains and professionals; None where they are not enabled."""

    domains: pd.DataFrame | None
    npis: pd.DataFrame | None

    @property
    def tables(self) -> list[pd.DataFrame]:
        return [table for table in (self.domains, self.npis) if table is not None]


def _multipliers(learned: Learned, settings: RunSettings, policy: BidPolicy) -> _Multipliers:
    domains = npis = None
    response = _bid_response(learned, policy)
    if settings.domain_enabled and learned.domain_cells is not None:
        domains = domain_multipliers(learned.domain_cells, slope=learned.report.bid_coefficient, response=response)
    if settings.npi_enabled and learned.npi_totals is not None:
        npis = npi_multipliers(learned.npi_totals, response=response)
    return _Multipliers(domains, npis)


def _landscape(learned: Learned, multipliers: _Multipliers) -> Landscape:
    """The win-rate curves of base bids: mixed over the multipliers, with the steps of round prices without any."""
    report = learned.report
    link = multiplier_link(
        [table for table in multipliers.tables if len(table)],
        requests=float(learned.segments["bids"].sum()),
        slope=report.slope,
        tails=report.tails,
    )
    # Multipliers differ by request: with them no base bid is above a round price for all.
    is_multiplied = any((table["multiplier"] != 1.0).any() for table in multipliers.tables)
    return Landscape(report.reference_cpm, link, None if is_multiplied else report.price_steps)


def _plan(
    priceable: pd.DataFrame, landscape: Landscape, learned: Learned, policy: BidPolicy, *, seed: str
) -> tuple[pd.DataFrame, BidPlan]:
    """The plan, and the segments with the floors that follow it where floors follow the bids."""
    report, segments = learned.report, priceable
    plan = plan_bids(segments, landscape=landscape, policy=policy, seed=seed)
    is_followed = report.following_floor_share > 0 and not (report.is_held or report.is_slope_naive)
    for _ in range(FOLLOWING_ROUNDS if is_followed else 0):
        segments = above_following_floor(priceable, plan, learned, policy)
        plan = plan_bids(segments, landscape=landscape, policy=policy, seed=seed)
    return segments, plan


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
