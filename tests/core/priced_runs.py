"""Runs that were priced with known numbers, as their published tables."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape, Link
from optimizer.core.landscape.logit import Tails
from optimizer.core.landscape.price_steps import PriceSteps
from optimizer.core.pricing.bid_steps import RunPricing
from optimizer.core.pricing.bids import plan_bids
from optimizer.core.pricing.run_comparison import ComparedRun
from optimizer.core.serving.keys import segment_key

FEATURES = ("adspace", "region")
LINK = Link(np.array([-0.2, 0.1, 0.4]), np.array([0.3, 0.5, 0.2]), tails=Tails(0.05))
REFERENCE_CPM = 8.0
LEVEL_CORRECTION = -0.07


@dataclass(frozen=True)
class PricedRun:
    """A run's bid table in the columns of suggested_bids.csv, and what it was priced with."""

    bids: pd.DataFrame
    pricing: RunPricing
    landscape: Landscape
    expected_win_rate: float

    def compared(self, run_id: str, **fields: Any) -> ComparedRun:
        """Return the run as one side of a comparison."""
        given = {
            "features": FEATURES,
            "facts": {"entity": "drugs_hcp"},
            "metrics": {"bidding": {"shadow_price_cpm": self.pricing.shadow_price_cpm}},
            "config": self.pricing.settings.model_dump(),
            "best_response": self.landscape.best_response,
        }
        return ComparedRun(run_id=run_id, bids=self.bids, pricing=self.pricing, **{**given, **fields})


def segment_table(seed: int = 0, *, adspaces: int = 10, regions: int = 12) -> pd.DataFrame:
    """Return the segments of a market: thin and thick ones, some without a value, a floor or an earlier bid."""
    rng = np.random.default_rng(seed)
    size = adspaces * regions
    values = [(f"a{number // regions}", f"r {number % regions}|") for number in range(size)]
    values[-1] = ("a0", None)
    effective = np.exp(rng.normal(4.0, 2.0, size))
    own_share = effective / (effective + 60)
    shift = rng.normal(0, 0.6, size) * own_share
    model_level = rng.normal(-0.5, 0.8, size)
    level_error = 0.6 * np.sqrt(1 - own_share)
    flatness = np.sqrt(1 + np.pi / 8 * level_error**2)
    views = rng.binomial(np.ceil(effective).astype(int), 0.3)
    sometimes = rng.random((3, size))
    previous = np.where(sometimes[2] < 0.7, rng.uniform(4, 16, size), np.nan)
    return pd.DataFrame(
        {
            "adspace": [adspace for adspace, _ in values],
            "region": [region for _, region in values],
            "segment_key": [segment_key(value) for value in values],
            "bids": np.ceil(1.5 * effective).astype(int),
            "requests": np.ceil(effective),
            "wins": views,
            "clicks": rng.binomial(views, 0.02),
            "effective_bids": effective,
            "model_level": model_level,
            "level_shift": shift,
            "level_error": level_error,
            "flatness": flatness,
            "level": (model_level + shift + LEVEL_CORRECTION) / flatness,
            "own_share": own_share,
            "slope": np.repeat(rng.uniform(1.4, 2.6, adspaces), regions) / flatness,
            "slope_error": 0.2,
            "is_slope_identified": True,
            "is_held": False,
            "click_rate": rng.uniform(0.005, 0.02, size),
            "value_cpm": np.where(sometimes[0] < 0.9, rng.uniform(4, 40, size), np.nan),
            "floor_cpm": np.where(sometimes[1] < 0.4, rng.uniform(1, 12, size), np.nan),
            "hidden_floor_cpm": 0.0,
            "previous_bid_cpm": previous,
            "kept_bid_cpm": previous,
            "step_from_cpm": np.round(previous * np.exp(rng.normal(0, 0.08, size)), 2),
            "usual_bid_cpm": rng.uniform(5, 14, size),
            "trust_low_cpm": 3.0,
            "trust_high_cpm": 22.0,
        }
    )


def price(
    segments: pd.DataFrame,
    *,
    run_id: str = "20260203_150000",
    value_trust: float = 0.9,
    reference_cpm: float = REFERENCE_CPM,
    link: Link = LINK,
    steps: PriceSteps | None = None,
    **values: Any,
) -> PricedRun:
    """Return the run that these segments and config values make."""
    settings = RunSettings.model_validate({"floor_available": True, **values})
    pricing = RunPricing(settings, reference_cpm, 0.0, value_trust, settings.daily_step_limit, 0.1, LEVEL_CORRECTION)
    landscape = Landscape(reference_cpm, link, steps)
    plan = plan_bids(segments, landscape=landscape, policy=pricing.policy, seed=run_id)
    table = pd.concat([segments, plan.table], axis=1).assign(
        observed_win_rate=segments["wins"] / segments["bids"],
        observed_ctr=(segments["clicks"] / segments["wins"]).where(segments["wins"] > 0),
        modelled_win_rate=landscape.win_rate(segments["level"], segments["slope"], segments["usual_bid_cpm"]),
        is_served=plan.table["suggested_bid_cpm"].notna(),
    )
    return PricedRun(
        bids=table.rename(columns={"wins": "views", "click_rate": "modelled_ctr"}),
        pricing=replace(pricing, shadow_price_cpm=plan.shadow_price_cpm),
        landscape=landscape,
        expected_win_rate=plan.expected_win_rate,
    )
