"""From what was learned to what is bid: the part of compute_bids that needs no system."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.bidding import CENT, FALLBACK, MIN_VALUE_TRUST, BidPlan, BidPolicy, plan_bids
from optimizer.core.keys import segment_key
from optimizer.core.landscape import Landscape
from optimizer.core.multipliers import domain_multipliers, multiplier_link, npi_multipliers
from optimizer.core.settings import RunSettings
from optimizer.core.stability import stability_index
from optimizer.training.job import TrainingReport

MAX_LEVEL_ERROR = 0.5
"""A segment is served where the standard error of its level, in logit units, is at most this."""

JITTER_SD = {"off": 0.02, "on": 0.10, "aggressive": 0.15}
TRUST_WIDENING = {"on": 0.25, "aggressive": 0.50}
AGGRESSIVE_STEP_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Learned:
    """What a run knows when it prices: the segments and report of training, the cells of domains and NPIs.

    total_clicks: of the window; how far the value of a click-paid impression can be trusted depends on it.
    """

    segments: pd.DataFrame
    report: TrainingReport
    features: Sequence[str]
    domain_cells: pd.DataFrame | None
    npi_totals: pd.DataFrame | None
    total_clicks: int


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
    """What the active run bids: its plan by the new run's segment keys, CPM, and its fallback."""

    planned_cpm: Mapping[str, float]
    fallback_cpm: float


def price_run(learned: Learned, *, settings: RunSettings, active: ActiveBids | None, run_id: str) -> PricedRun:
    """Return bids and multipliers; `active` is None before a run was live.

    What is not served gets the fallback bid, so the price of a win is found with those requests at the fallback.
    """
    report = learned.report
    domains = npis = None
    if settings.domain_enabled and learned.domain_cells is not None:
        domains = domain_multipliers(learned.domain_cells, slope=report.bid_coefficient)
    if settings.npi_enabled and learned.npi_totals is not None:
        npis = npi_multipliers(learned.npi_totals)
    link = multiplier_link(
        [table for table in (domains, npis) if table is not None and len(table)],
        requests=float(learned.segments["bids"].sum()),
        slope=report.slope,
        unrivalled_share=report.unrivalled_share,
    )
    landscape = Landscape(report.reference_cpm, link)
    policy = bid_policy(settings, report, total_clicks=learned.total_clicks)
    segments = _priceable(learned, settings, active)
    first = plan_bids(segments, landscape=landscape, policy=policy, seed=run_id)
    fallback = _fallback_bid(segments, first, active, policy)
    segments = _decide_service(segments, first, policy, fallback)
    plan = plan_bids(_as_bid(segments, fallback), landscape=landscape, policy=policy, seed=run_id)
    bids = _bid_table(segments, plan, landscape, policy, fallback)
    figures = _figures(bids, plan, policy, landscape) | {
        "fallback_bid_cpm": fallback,
        "segment_scope_cpm_ratio": _segment_scope_ratio(segments, landscape, policy, run_id),
        "link": {name: getattr(link, name).tolist() for name in ("shifts", "shares")}
        | {"unrivalled_share": link.unrivalled_share},
        "domains_count": 0 if domains is None else len(domains),
        "npis_count": 0 if npis is None else len(npis),
    }
    return PricedRun(bids, domains, npis, landscape, figures)


def bid_policy(settings: RunSettings, report: TrainingReport, *, total_clicks: int) -> BidPolicy:
    """Return what bounds the bids of a run with these settings."""
    mode = "aggressive" if settings.aggressive_exploration else "on"
    return BidPolicy(
        target_win_rate=settings.target_win_rate,
        win_rate_scope=settings.win_rate_scope,
        target_margin=settings.target_margin,
        max_bid_cpm=settings.max_bid_cpm,
        floor_available=settings.floor_available,
        jitter_sd=JITTER_SD[mode if settings.exploration_mode else "off"],
        step_limit=settings.daily_step_limit * (AGGRESSIVE_STEP_FACTOR if settings.aggressive_exploration else 1.0),
        value_trust=value_trust(report, total_clicks=total_clicks),
        is_second_price=settings.auction_type == "second_price",
        is_aggressive=settings.aggressive_exploration,
    )


def value_trust(report: TrainingReport, *, total_clicks: int) -> float:
    """Return theta, 0 to 1: the mean value with clicks at one standard error below their count, over the mean value.

    The error of a count of clicks is its root (Poisson). What views earn by themselves is known.
    """
    by_clicks = 1000 * report.global_click_rate * report.value_per_click
    value = by_clicks + report.value_per_mille_views
    if value <= 0 or not total_clicks:
        return report.value_per_mille_views / value if value > 0 else 0.0
    return 1.0 - total_clicks**-0.5 * by_clicks / value


def _priceable(learned: Learned, settings: RunSettings, active: ActiveBids | None) -> pd.DataFrame:
    """The segments with all that `plan_bids` needs, and whether their evidence is enough to be served."""
    report, segments = learned.report, learned.segments
    values = segments[list(learned.features)].astype("object").where(segments[list(learned.features)].notna(), None)
    keys = pd.Series([segment_key(row) for row in values.itertuples(index=False, name=None)], index=segments.index)
    previous = keys.map({} if active is None else dict(active.planned_cpm)).astype(float)
    value_cpm = 1000 * segments["click_rate"] * report.value_per_click + report.value_per_mille_views
    widening = TRUST_WIDENING["aggressive" if settings.aggressive_exploration else "on"]
    widening = 0.0 if report.is_slope_naive else widening
    is_known = segments[list(learned.features)].notna().all(axis=1)
    has_level = (segments["effective_bids"] >= settings.min_segment_bids) & (segments["level_error"] <= MAX_LEVEL_ERROR)
    # A naive slope moves no bid of a live run; the first run may try it, within the band of what was bid.
    is_doubted = report.is_slope_naive if active is not None else False
    return segments.assign(
        segment_key=keys,
        previous_bid_cpm=previous,
        value_cpm=np.where(value_cpm > 0, value_cpm, np.nan),
        trust_low_cpm=report.served_bid_low_cpm * (1 - widening),
        trust_high_cpm=report.served_bid_high_cpm * (1 + widening),
        is_held=report.is_held | is_doubted | (~segments["is_slope_identified"] & (not report.is_slope_naive)),
        own_share=_own_share(segments),
        is_known=is_known,
        has_evidence=is_known & has_level,
    )


def _fallback_bid(segments: pd.DataFrame, plan: BidPlan, active: ActiveBids | None, policy: BidPolicy) -> float:
    """The bid on what is not served: the geometric mean, by requests, of the bids on what has evidence.

    It keeps the cap and the daily step, as all bids do.
    """
    planned = plan.table["planned_bid_cpm"]
    rows = planned.notna() & (segments["has_evidence"] if segments["has_evidence"].any() else True)
    if not rows.any():
        return CENT
    bid = float(np.exp(np.average(np.log(planned[rows]), weights=segments["bids"][rows])))
    if active is not None:
        step = policy.step_limit
        bid = min(max(bid, active.fallback_cpm * (1 - step)), active.fallback_cpm * (1 + step))
    return max(CENT, math.floor(min(bid, policy.max_bid_cpm) / CENT + 1e-9) * CENT)


def _decide_service(segments: pd.DataFrame, plan: BidPlan, policy: BidPolicy, fallback: float) -> pd.DataFrame:
    """With `is_blocked`, keys that must not be bid on, and `is_served`, keys that have a bid of their own.

    Those are the ones with evidence, and those on which the fallback would break floor or margin.
    """
    floor = segments["floor_cpm"].fillna(0.0) if policy.floor_available else 0.0
    is_margin_kept = policy.value_trust >= MIN_VALUE_TRUST
    ceiling = ((1 - policy.target_margin) * segments["value_cpm"]).fillna(np.inf) if is_margin_kept else np.inf
    can_bid = plan.table["planned_bid_cpm"].notna()
    breaks = (fallback < floor) | (fallback > ceiling)
    return segments.assign(
        is_blocked=segments["is_known"] & ~can_bid,
        is_served=segments["is_known"] & can_bid & (segments["has_evidence"] | breaks),
    )


def _as_bid(segments: pd.DataFrame, fallback: float) -> pd.DataFrame:
    """The segments as they will be bid: those that are neither served nor blocked stay at the fallback."""
    others = ~segments["is_served"] & ~segments["is_blocked"]
    return segments.assign(
        is_held=segments["is_held"] | others,
        usual_bid_cpm=segments["usual_bid_cpm"].mask(others, fallback),
        previous_bid_cpm=segments["previous_bid_cpm"].mask(others, np.nan),
        floor_cpm=segments["floor_cpm"].mask(others, np.nan),
    )


def _own_share(segments: pd.DataFrame) -> np.ndarray:
    """Share of a segment's level that is its own evidence, 0 to 1: what its error lost against the spread of all."""
    prior = float((segments["level_shift"] ** 2 + segments["level_error"] ** 2).mean())
    return (
        (1 - segments["level_error"].to_numpy(float) ** 2 / prior).clip(0, 1) if prior > 0 else np.ones(len(segments))
    )


def _bid_table(
    segments: pd.DataFrame, plan: BidPlan, landscape: Landscape, policy: BidPolicy, fallback: float
) -> pd.DataFrame:
    """The segments with their bids and what is expected of them; where the fallback is bid, it says so."""
    table = pd.concat([segments, plan.table], axis=1)
    others = ~table["is_served"] & ~table["is_blocked"] & table["suggested_bid_cpm"].notna()
    level, slope = table["level"].to_numpy(float), table["slope"].to_numpy(float)
    bid = np.full(len(table), fallback)
    cost = landscape.mean_price(level, slope, bid) if policy.is_second_price else bid
    margin = 1 - cost / table["value_cpm"].where(table["value_cpm"] > 0)
    return table.assign(
        planned_bid_cpm=table["planned_bid_cpm"].mask(others, fallback),
        jitter=table["jitter"].mask(others, 1.0),
        suggested_bid_cpm=table["suggested_bid_cpm"].mask(others, fallback),
        expected_win_rate=table["expected_win_rate"].mask(others, landscape.win_rate(level, slope, bid)),
        expected_cost_cpm=table["expected_cost_cpm"].mask(others, cost),
        expected_margin=table["expected_margin"].mask(others, margin),
        reason=table["reason"].mask(others, FALLBACK),
        observed_win_rate=table["wins"] / table["bids"],
        modelled_win_rate=landscape.win_rate(level, slope, table["usual_bid_cpm"].to_numpy(float)),
        observed_ctr=(table["clicks"] / table["wins"]).where(table["wins"] > 0),
    )


def _segment_scope_ratio(segments: pd.DataFrame, landscape: Landscape, policy: BidPolicy, run_id: str) -> float | None:
    """What a win costs where every segment has to reach the target by itself, over what it costs otherwise.

    Both without the daily step, which would only tell how far a day may go.
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
    biddable = bids[bids["suggested_bid_cpm"].notna()]
    suggested = biddable["suggested_bid_cpm"]
    step = (biddable["planned_bid_cpm"] / biddable["previous_bid_cpm"] - 1).abs()
    bound_by_step = step[biddable["is_served"] & ~biddable["reason"].isin(["margin", "cap", "floor"])]
    won = biddable["bids"] * biddable["expected_win_rate"]
    value = (won * biddable["value_cpm"]).sum()
    return {
        "total_segments": len(bids),
        "segments_count": len(biddable),
        "segments_in_memcache": int((bids["is_served"] | bids["is_blocked"]).sum()),
        "row_coverage": float(bids.loc[bids["is_served"], "bids"].sum() / bids["bids"].sum()),
        "bid_median": float(suggested.median()) if len(suggested) else None,
        "bid_min": float(suggested.min()) if len(suggested) else None,
        "bid_max": float(suggested.max()) if len(suggested) else None,
        "win_price_cpm": plan.win_price_cpm,
        "expected_win_rate": plan.expected_win_rate,
        "target_shortfall": max(0.0, policy.target_win_rate - plan.expected_win_rate),
        "expected_cpm": plan.expected_cpm,
        "expected_margin": float(1 - (won * biddable["expected_cost_cpm"]).sum() / value) if value > 0 else None,
        "trust_low_cpm": float(bids["trust_low_cpm"].min()),
        "trust_high_cpm": float(bids["trust_high_cpm"].max()),
        "jitter_sd": policy.jitter_sd,
        "jitter_spread": _jitter_spread(bids),
        "step_limit": policy.step_limit,
        "largest_step": float(bound_by_step.max()) if bound_by_step.notna().any() else 0.0,
        "compared_segments": int(biddable["previous_bid_cpm"].notna().sum()),
        "value_trust": policy.value_trust,
        **_changes(biddable, landscape, policy),
        "reasons": {reason: int(count) for reason, count in bids["reason"].value_counts().sort_index().items()},
    }


def _jitter_spread(bids: pd.DataFrame) -> float:
    """Standard deviation of log(suggested / planned) over the requests that are served; 0 where nothing is."""
    served = bids[bids["is_served"]]
    if served.empty:
        return 0.0
    moves, weights = np.log(served["suggested_bid_cpm"] / served["planned_bid_cpm"]), served["bids"]
    return float(np.sqrt(np.average((moves - np.average(moves, weights=weights)) ** 2, weights=weights)))


def _changes(biddable: pd.DataFrame, landscape: Landscape, policy: BidPolicy) -> dict[str, float | None]:
    """What changes against the active run over the segments that both bid on; None without any.

    expected_spend_change: predicted spend at the planned bids over that at the active run's, less one.
    bid_stability_index: how far the distribution of bids has moved.
    """
    both = biddable[biddable["previous_bid_cpm"].notna()]
    if both.empty:
        return {"expected_spend_change": None, "bid_stability_index": None}
    level, slope = both["level"].to_numpy(float), both["slope"].to_numpy(float)
    requests = both["bids"].to_numpy(float)

    def spend(bid: np.ndarray) -> float:
        cost = landscape.mean_price(level, slope, bid) if policy.is_second_price else bid
        return float(requests @ (landscape.win_rate(level, slope, bid) * cost))

    old, new = both["previous_bid_cpm"].to_numpy(float), both["planned_bid_cpm"].to_numpy(float)
    return {
        "expected_spend_change": spend(new) / spend(old) - 1,
        "bid_stability_index": stability_index(old, new, weights=requests),
    }
