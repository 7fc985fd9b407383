"""Whether the intervals of a what-if hold the truth: what its bids bring, and how the same rule would bid if it knew.

The shadow price and the shares of the limits have a truth too: those of the rule that prices a run, on the market's own
win-rate curves and values, within the limits of the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logit

from lab.evaluation.cases import Case
from lab.evaluation.judgement import meet_policy
from lab.evaluation.trial import TrialRun
from lab.market.auctions import Requests
from lab.market.outcome import expect_outcome, request_click_rate, win_law
from lab.market.policies import BidTablePolicy
from lab.market.world import World
from optimizer.core.config.settings import RunSettings, config_catalogue
from optimizer.core.pricing.bids import REASONS, decide_bids
from optimizer.core.pricing.target_reach import TOLERANCE
from optimizer.core.records.estimate import Estimate
from optimizer.core.serving.keys import segment_key
from optimizer.runs.limit_intervals import LIMITS
from optimizer.runs.pricing import PlannedRun
from optimizer.runs.proposals import Figures
from optimizer.runs.what_if import WhatIf

JUDGED_DAYS = 7
REQUESTS = 100_000
GRID = np.exp(np.linspace(np.log(0.05), np.log(200.0), 160))
"""Bids on which the market's own curves are known, CPM: 5 % apart."""

NEAR = 2.0
"""The market's curves are fitted between the usual bid over this and times this."""

LEAST_SLOPE = 0.1
"""A flatter curve is one of a segment that hardly any request was made for."""

WISHES: Sequence[Mapping[str, Any]] = (
    {},
    {"target_win_rate": 0.25},
    {"target_win_rate": 0.35},
    {"target_win_rate": 0.4, "target_margin": 0.1},
    {"target_win_rate": 0.35, "max_bid_cpm": 5.0},
)


@dataclass(frozen=True, slots=True)
class WhatIfCoverage:
    """Share of the intervals that hold the truth, over all wishes, proposed and settled; NaN where none is known."""

    what_if_win_rate: float
    what_if_cpm: float
    what_if_spend: float
    what_if_margin: float
    what_if_shadow_price: float
    what_if_limits: float


def judge_what_if(case: Case, world: World, run: TrialRun, *, settings: RunSettings) -> WhatIfCoverage:
    """Return how often the truth of the week after the log lies in what a what-if says of it."""
    if run.priceable is None:
        raise ValueError("the trial keeps nothing to price from")
    what_if = WhatIf(run.run_id, settings, tuple(config_catalogue()), None, run.priceable, run.priceable)
    market = _Market.of(case, world, what_if, features=run.selection.features)
    found: list[dict[str, float]] = []
    for wish in WISHES:
        wished = what_if.settings_with(wish)
        proposal, policy = what_if.price(wish), what_if.next_run.policy(wished)
        for figures, limit in ((proposal.proposed, policy.step_limit), (proposal.settled, np.inf)):
            planned = what_if.next_run.plan(wished, replace(policy, step_limit=limit), seed=run.run_id)
            found.append(market.covered(planned, figures))
    means = {name: [row[name] for row in found if not np.isnan(row[name])] for name in found[0]}
    return WhatIfCoverage(**{name: float(np.mean(held)) if held else np.nan for name, held in means.items()})


@dataclass(frozen=True, slots=True)
class IdealPlan:
    """The shadow price and the share of each limit if the run knew the market."""

    shadow_price_cpm: float
    shares: Mapping[str, float]


@dataclass(frozen=True)
class _Market:
    """The judged days as the segments of a run meet them. Arrays have shape (n_segments,).

    mass: requests of each segment; value: of a win, CPM, NaN where there were none.
    curves: P(win) at each bid of `GRID`, shape (n_segments, n_bids).
    requests_per_day: of the log, which the judged days are a sample of.
    """

    world: World
    requests: Requests
    requests_per_day: float
    features: tuple[str, ...]
    mass: np.ndarray
    value: np.ndarray
    curves: np.ndarray

    @classmethod
    def of(cls, case: Case, world: World, what_if: WhatIf, *, features: tuple[str, ...]) -> "_Market":
        keys = what_if.next_run.segments["segment_key"]
        table = BidTablePolicy(dict.fromkeys(keys, 1.0), features, None, spell_key=segment_key)
        requests, _ = meet_policy(world, table, day=case.end_day, days=JUDGED_DAYS, count=REQUESTS, seed=case.seed + 5)
        place = dict(zip(keys, range(len(keys)), strict=True))
        asked, key_of = table.keys(world, requests)
        row = np.array([place.get(key, -1) for key in asked])[key_of]
        mass = np.bincount(row[row >= 0], minlength=len(keys)).astype(float)

        def by_segment(figure: np.ndarray) -> np.ndarray:
            return np.bincount(row[row >= 0], figure[row >= 0], minlength=len(keys)) / np.maximum(mass, 1.0)

        win_probability = win_law(world, requests)
        won = (win_probability(np.full(len(requests), bid)) for bid in GRID)
        clicked = by_segment(request_click_rate(world, requests)) * world.click_revenue
        value = np.where(mass > 0, 1000 * (clicked + world.view_revenue), np.nan)
        curves = np.stack([by_segment(one) for one in won], axis=1)
        return cls(world, requests, case.bids / case.days, features, mass, value, curves)

    def covered(self, planned: PlannedRun, figures: Figures) -> dict[str, float]:
        """Return 1 by figure whose interval holds the truth, 0 where it does not, NaN where there is none."""
        bids = planned.bids[planned.bids["is_served"]].set_index("segment_key")["suggested_bid_cpm"]
        table = BidTablePolicy(bids.to_dict(), self.features, None, spell_key=segment_key)
        truth = expect_outcome(self.world, self.requests, prices=table.price(self.world, self.requests))
        ideal = self.ideal_plan(planned)
        is_missed = figures.win_rate.value < planned.policy.target_win_rate - TOLERANCE
        spend = truth.win_rate * truth.cpm / 1000 * self.requests_per_day
        return {
            "what_if_win_rate": _holds(figures.win_rate, truth.win_rate),
            "what_if_cpm": _holds(figures.cpm, truth.cpm),
            "what_if_spend": _holds(figures.spend_per_day, spend),
            "what_if_margin": _holds(figures.margin, truth.margin),
            # Lambda has no value of its own where none reaches the target.
            "what_if_shadow_price": np.nan if is_missed else _holds(figures.shadow_price, ideal.shadow_price_cpm),
            "what_if_limits": float(np.mean([_holds(figures.limits[name], ideal.shares[name]) for name in LIMITS])),
        }

    def ideal_plan(self, planned: PlannedRun) -> IdealPlan:
        """Return the plan of the same rule within the same limits, on the market's own curves and values."""
        segments, value = planned.segments, np.where(np.isnan(self.value), 0.0, self.value)
        level, slope = self._fitted(planned)
        known = segments.assign(
            requests=self.mass, level=level, slope=slope, value_cpm=np.where(value > 0, value, np.nan)
        )
        decided = decide_bids(known, landscape=planned.landscape, policy=planned.policy)
        share = np.bincount(decided.reason, self.mass, minlength=len(REASONS)) / self.mass.sum()
        return IdealPlan(
            decided.shadow_price_cpm,
            {name: float(sum(share[REASONS.index(one)] for one in reasons)) for name, reasons in LIMITS.items()},
        )

    def _fitted(self, planned: PlannedRun) -> tuple[np.ndarray, np.ndarray]:
        """Level and slope of the market's own curves around the usual bids; the run's own where nothing was asked."""
        segments, tails = planned.segments, planned.landscape.link.tails
        usual, x = segments["usual_bid_cpm"].to_numpy(float), np.log(GRID / planned.landscape.reference_cpm)
        contested = np.clip((self.curves - tails.floor) / tails.width, 1e-4, 1 - 1e-4)
        is_near = np.abs(np.log(GRID) - np.log(usual)[:, None]) <= np.log(NEAR)
        weight = contested * (1 - contested) * is_near
        y, total = logit(contested), weight.sum(axis=1)
        x_mean, y_mean = (weight @ x) / total, (weight * y).sum(axis=1) / total
        x_off = x - x_mean[:, None]
        slope = (weight * x_off * y).sum(axis=1) / (weight * x_off**2).sum(axis=1)
        is_known = (self.mass > 0) & (slope > LEAST_SLOPE)
        level = y_mean - slope * x_mean
        return (
            np.where(is_known, level, segments["level"].to_numpy(float)),
            np.where(is_known, slope, segments["slope"].to_numpy(float)),
        )


def _holds(estimate: Estimate, truth: float) -> float:
    """1 where the interval holds the truth."""
    if estimate.low is None or estimate.high is None:
        return 0.0
    return float(estimate.low - 1e-9 <= truth <= estimate.high + 1e-9)
