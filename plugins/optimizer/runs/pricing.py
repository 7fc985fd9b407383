"""From what was learned to what is bid: the part of compute_bids that needs no system."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_bounds import CENT, MIN_VALUE_TRUST
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.core.pricing.bids import BidPlan, plan_bids
from optimizer.core.pricing.multipliers import (
    BidResponse,
    bid_response,
    domain_multipliers,
    multiplier_link,
    npi_multipliers,
)
from optimizer.core.records.bid_figures import PricedFigures
from optimizer.runs.bid_limits import bid_policy
from optimizer.runs.learned import ActiveBids, Learned
from optimizer.runs.priceable import above_following_floor, known_segments, priceable_segments
from optimizer.runs.priced_figures import expected_of, forecast_next_days, link_record, measured_of, segment_scope_ratio

FOLLOWING_ROUNDS = 3
"""Bids, and the floor that follows them, are found in turn: a share below 1 of what one moves comes back."""

KEPT_CURVES = 2
"""The curves of a run as it is, and of the settings that were last tried on it."""


@dataclass(frozen=True, slots=True)
class PricedRun:
    """The bid table, the multipliers where they are enabled, and the figures of the run."""

    bids: pd.DataFrame
    domains: pd.DataFrame | None
    npis: pd.DataFrame | None
    landscape: Landscape
    figures: PricedFigures


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What is bid with these settings, before the figures of it.

    segments: what the bids are planned from; bids: the same with `BidPlan.table` and what was observed.
    """

    segments: pd.DataFrame
    bids: pd.DataFrame
    plan: BidPlan
    policy: BidPolicy
    landscape: Landscape
    domains: pd.DataFrame | None
    npis: pd.DataFrame | None


@dataclass(frozen=True)
class Priceable:
    """What a run prices, made ready once for any settings.

    segments: of `known_segments`.
    """

    learned: Learned
    active: ActiveBids | None
    segments: pd.DataFrame = field(repr=False)

    @classmethod
    def of(cls, learned: Learned, active: ActiveBids | None) -> "Priceable":
        """Return what a run with this knowledge prices; `active` is None before a run was live."""
        return cls(learned, active, known_segments(learned, active))

    def stepping_from(self, active: ActiveBids | None) -> "Priceable":
        """Return the same knowledge of a run that moves on from other bids."""
        return Priceable.of(self.learned, active)

    def policy(self, settings: RunSettings) -> BidPolicy:
        """Return what bounds the bids with these settings."""
        return bid_policy(settings, self.learned.report, total_clicks=self.learned.total_clicks)

    def plan(self, settings: RunSettings, policy: BidPolicy, *, seed: str) -> PlannedRun:
        """Return the bids, each jittered by seed and key."""
        curves = self._curves(settings, policy)
        priceable = priceable_segments(self.segments, self.learned, policy)
        segments, plan = _plan(priceable, curves.landscape, self.learned, policy, seed=seed)
        bids = _bid_table(segments, plan, curves.landscape)
        return PlannedRun(segments, bids, plan, policy, curves.landscape, curves.domains, curves.npis)

    def plan_targets(
        self, settings: RunSettings, policy: BidPolicy, *, targets: Iterable[float], seed: str
    ) -> Iterator[BidPlan]:
        """Yield the plan of each target win rate, all else equal."""
        landscape = self._curves(settings, policy).landscape
        priceable = priceable_segments(self.segments, self.learned, policy)
        for target in targets:
            aimed = replace(policy, target_win_rate=target)
            yield _plan(priceable, landscape, self.learned, aimed, seed=seed)[1]

    def _curves(self, settings: RunSettings, policy: BidPolicy) -> "_Curves":
        """The latest are kept: settings that change no multiplier share what the curves cost."""
        key = (_bid_response(self.learned, policy), settings.domain_enabled, settings.npi_enabled)
        found = self._kept_curves.get(key)
        if found is None:
            response, has_domains, has_npis = key
            found = _Curves.of(self.learned, response, has_domains=has_domains, has_npis=has_npis)
            while len(self._kept_curves) >= KEPT_CURVES:
                self._kept_curves.pop(next(iter(self._kept_curves)), None)
            self._kept_curves[key] = found
        return found

    @cached_property
    def _kept_curves(self) -> "dict[tuple[BidResponse, bool, bool], _Curves]":
        return {}


def price_run(learned: Learned, *, settings: RunSettings, active: ActiveBids | None, run_id: str) -> PricedRun:
    """Return bids and multipliers; `active` is None before a run was live.

    Every key of the window has a bid of its own; keys that the bidder has never seen get the fallback.
    """
    priceable = Priceable.of(learned, active)
    planned = priceable.plan(settings, priceable.policy(settings), seed=run_id)
    bids, plan, policy, landscape = planned.bids, planned.plan, planned.policy, planned.landscape
    figures = PricedFigures(
        **measured_of(bids, policy, landscape),
        **expected_of(bids, plan, policy),
        **forecast_next_days(bids, learned, policy, landscape),
        jitter_sd=policy.jitter_sd,
        step_limit=policy.step_limit,
        value_trust=policy.value_trust,
        level_correction=learned.level_correction,
        is_learning=learned.report.is_slope_naive,
        fallback_bid_cpm=_fallback_bid(planned.segments, plan, active, policy),
        segment_scope_cpm_ratio=segment_scope_ratio(planned.segments, landscape, policy, run_id),
        link=link_record(landscape, learned.report),
        domains_count=0 if planned.domains is None else len(planned.domains),
        npis_count=0 if planned.npis is None else len(planned.npis),
    )
    return PricedRun(bids, _by_name(planned.domains, "domain"), _by_name(planned.npis, "npi"), landscape, figures)


@dataclass(frozen=True, slots=True)
class _Curves:
    """The multipliers of domains and professionals, None where they are not enabled, and the curves of base bids."""

    domains: pd.DataFrame | None
    npis: pd.DataFrame | None
    landscape: Landscape

    @classmethod
    def of(cls, learned: Learned, response: BidResponse, *, has_domains: bool, has_npis: bool) -> "_Curves":
        domains = npis = None
        if has_domains and learned.domains is not None:
            domains = domain_multipliers(learned.domains, response=response)
        if has_npis and learned.npis is not None:
            npis = npi_multipliers(learned.npis, response=response)
        return cls(domains, npis, _landscape(learned, [table for table in (domains, npis) if table is not None]))


def _by_name(table: pd.DataFrame | None, key: str) -> pd.DataFrame | None:
    return None if table is None else table.sort_values(key, ignore_index=True)


def _landscape(learned: Learned, multipliers: Sequence[pd.DataFrame]) -> Landscape:
    """The win-rate curves of base bids: mixed over the multipliers, with the steps of round prices without any."""
    report = learned.report
    link = multiplier_link(
        [table for table in multipliers if len(table)],
        requests=float(learned.segments["bids"].sum()),
        slope=report.slope,
        tails=report.tails,
    )
    # Multipliers differ by request: with them no base bid is above a round price for all.
    is_multiplied = any((table["multiplier"] != 1.0).any() for table in multipliers)
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
