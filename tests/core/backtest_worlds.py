"""Logs of an earlier optimizer with jitter in a simulated market, and what two policies truly bring on its requests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from scipy.special import expit, logit, ndtri

from lab.market.auctions import Requests, draw_requests
from lab.market.epochs import calibrate_optimizer
from lab.market.events import settle
from lab.market.outcome import expect_outcome
from lab.market.policies import JitteredOptimizer, Prices
from lab.market.settings import WorldSettings
from lab.market.world import World
from optimizer.core.landscape.cells import PRICE_BUCKET_WIDTH
from optimizer.core.landscape.logit import fit_logit
from optimizer.core.landscape.shrinkage import posterior_shifts
from optimizer.core.landscape.slope import day_levels

SETTINGS = WorldSettings(segments=600, npis=1_000, is_paid_per_click=False, value_ratio=1.3)
"""A small market that pays by view, so that what a win earns is known and not one of a handful of clicks."""

QUANTITIES = ("win_rate", "spend", "cpm", "surplus", "margin")
_DAYS_BEFORE = 30
_TRUTH_JITTERS = 7

Outcome = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scene:
    """A log of cells, the policies to compare, a fitted win-rate curve and the truth, by quantity."""

    cells: pd.DataFrame
    segments: pd.DataFrame
    outcome: Outcome
    active: dict[str, float]
    new: dict[str, float]

    @property
    def difference(self) -> dict[str, float]:
        return {quantity: self.new[quantity] - self.active[quantity] for quantity in QUANTITIES}


def simulate(
    seed: int,
    *,
    days: int = 14,
    bids: int = 80_000,
    is_held: bool = True,
    jitter_sd: float = 0.10,
    new_jitter_sd: float = 0.10,
    factors: tuple[float, float] = (0.85, 1.15),
    settings: WorldSettings = SETTINGS,
) -> Scene:
    """Return a scene whose new policy changes each segment's planned bid by a random factor of its own.

    Args:
        is_held: planned bids stay; else they follow yesterday's prices, some percent a day.
        jitter_sd: of the log and of the active policy.
        factors: the range of the new policy's factors.
    """
    world = World.create(seed, settings=settings)
    first = _DAYS_BEFORE
    start_day = settings.first_day + timedelta(days=first)
    requests = draw_requests(world, start_day=start_day, days=days, count=bids)
    earlier = calibrate_optimizer(world, start_day=start_day, days=days)
    planned = replace(earlier, held_day=first - 1) if is_held else earlier
    prices = JitteredOptimizer(planned, seed=seed, jitter_sd=jitter_sd).price(world, requests)
    by_day = planned.base_bids(world, day_numbers=np.arange(first, first + days))
    planned_bid = by_day[requests.day_number - first, requests.segment]
    cells = _group(world, requests, prices=prices, planned_bid_cpm=planned_bid)

    factor = np.random.default_rng([seed, 1]).uniform(*factors, by_day.shape[1])
    segments = pd.DataFrame(
        {
            "planned_active_cpm": by_day[-1],
            "planned_new_cpm": factor * by_day[-1],
            "value_cpm": 1_000 * world.view_revenue,
        }
    )
    multiplier = prices.domain_multiplier * prices.npi_multiplier

    def truth(column: str, sd: float) -> dict[str, float]:
        base = segments[column].to_numpy()[requests.segment]
        return _expect(world, requests, base_bid_cpm=base, multiplier=multiplier, jitter_sd=sd)

    return Scene(
        cells,
        segments,
        fit_outcome(cells, size=len(segments)),
        active=truth("planned_active_cpm", jitter_sd),
        new=truth("planned_new_cpm", new_jitter_sd),
    )


def fit_outcome(cells: pd.DataFrame, *, size: int) -> Outcome:
    """Return the curve that a run fits: a common slope from the jitter, and each segment's shrunk level."""
    segment = cells["segment"].to_numpy()
    wins, bids = cells["wins"].to_numpy(float), cells["bids"].to_numpy(float)
    log_base, log_planned = cells["log_base"].to_numpy(), cells["log_planned"].to_numpy()
    multiplier = cells["log_bid"].to_numpy() - log_base
    mass = np.bincount(segment, bids, minlength=size)
    centre = np.average(log_base, weights=bids)
    usual = np.where(mass > 0, np.bincount(segment, bids * log_base, minlength=size) / np.maximum(mass, 1), centre)

    columns = (log_base - log_planned, multiplier, usual[segment] - centre, log_planned - usual[segment])
    fit = fit_logit(day_levels(cells, np.column_stack(columns)), wins=wins, trials=bids)
    slope, multiplier_slope, usual_slope = fit.coefficients[:3]
    level = fit.coefficients[4:].mean() + usual_slope * (usual - centre)
    curve = level[segment] + slope * (log_base - usual[segment]) + multiplier_slope * multiplier
    shift, _ = posterior_shifts(curve, wins=wins, bids=bids, group=segment, size=size)

    def outcome(codes: np.ndarray, log_base: np.ndarray, log_multiplier: np.ndarray) -> np.ndarray:
        at_usual = (level + shift)[codes]
        return expit(at_usual + slope * (log_base - usual[codes]) + multiplier_slope * log_multiplier)

    return outcome


def shift_logit(outcome: Outcome, by: float) -> Outcome:
    """Return the curve with its level moved, in logit units."""
    return lambda codes, log_base, log_multiplier: expit(logit(outcome(codes, log_base, log_multiplier)) + by)


def _group(world: World, requests: Requests, *, prices: Prices, planned_bid_cpm: np.ndarray) -> pd.DataFrame:
    events = settle(world, requests, prices=prices)
    is_won = pc.is_in(events.bids["bid_id"], value_set=events.views["bid_id"].combine_chunks())
    rows = pd.DataFrame(
        {
            "day": pd.Timestamp(world.settings.first_day) + pd.to_timedelta(requests.day_number, unit="D"),
            "segment": requests.segment,
            "price_bucket": np.round(np.log(prices.bid_cpm) / PRICE_BUCKET_WIDTH),
            "base_price_bucket": np.round(np.log(prices.base_bid_cpm) / PRICE_BUCKET_WIDTH),
            "bids": 1,
            "wins": is_won.to_numpy().astype(int),
            "bid_cpm_sum": prices.bid_cpm,
            "base_bid_cpm_sum": prices.base_bid_cpm,
            "log_planned": np.log(planned_bid_cpm),
        }
    )
    rows["cost_cpm_sum"] = rows["wins"] * rows["bid_cpm_sum"]
    rows["view_revenue"], rows["click_revenue"] = rows["wins"] * world.view_revenue, 0.0
    by = rows.groupby(["day", "segment", "price_bucket", "base_price_bucket"], sort=True)
    cells = by.sum().assign(log_planned=by["log_planned"].mean()).reset_index()
    return cells.assign(
        log_bid=np.log(cells["bid_cpm_sum"] / cells["bids"]), log_base=np.log(cells["base_bid_cpm_sum"] / cells["bids"])
    )


def _expect(
    world: World, requests: Requests, *, base_bid_cpm: np.ndarray, multiplier: np.ndarray, jitter_sd: float
) -> dict[str, float]:
    """The truth of a policy on these requests, its jitter averaged over equally likely draws."""
    draws = (np.arange(_TRUTH_JITTERS) + 0.5) / _TRUTH_JITTERS
    jitters = 1 + jitter_sd * ndtri(0.02275013 + draws * 0.9544997)
    results = [expect_outcome(world, requests, prices=Prices(base_bid_cpm * jitter * multiplier)) for jitter in jitters]
    wins, cost, revenue = (np.mean([getattr(r, name) for r in results]) for name in ("wins", "cost", "revenue"))
    return {
        "win_rate": wins / len(requests),
        "spend": cost,
        "cpm": 1_000 * cost / wins,
        "surplus": revenue - cost,
        "margin": (revenue - cost) / revenue,
    }
