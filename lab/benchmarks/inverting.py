"""From curves to bids: what `plan_bids` costs against one evaluation of the win rate over the same segments."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lab.benchmarks.figures import Figure, best_seconds
from optimizer.core.landscape.curves import Landscape, Link
from optimizer.core.landscape.logit import Tails
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.core.pricing.bids import plan_bids
from optimizer.core.pricing.multipliers import LINK_ATOMS

MAX_EVALUATIONS = 50.0
BOUND_FROM = 1_000_000
"""From that many segments on the bound holds: on few, both take microseconds and the table has its fixed cost."""

ADSPACES = 40
REFERENCE_CPM = 8.0
POLICY = BidPolicy(
    target_win_rate=0.5,
    win_rate_scope="portfolio",
    target_margin=0.3,
    max_bid_cpm=50.0,
    floor_available=True,
    jitter_sd=0.1,
    step_limit=0.15,
    value_trust=0.5,
)
"""A target that value alone does not reach, so that lambda has to be searched for; every bound is in use."""

LINKS: Mapping[str, Link] = {
    "plain link": Link(),
    f"link of {LINK_ATOMS} shifts": Link(
        np.linspace(-0.6, 0.6, LINK_ATOMS), np.full(LINK_ATOMS, 1 / LINK_ATOMS), tails=Tails(0.05)
    ),
}


def measure_inversion(*, sizes: Sequence[int], repeats: int) -> list[Figure]:
    """Return what the bids of that many segments cost, with and without multipliers."""
    return [
        _measure(make_segments(size), name, Landscape(REFERENCE_CPM, link), repeats=repeats)
        for size in sizes
        for name, link in LINKS.items()
    ]


def make_segments(size: int, *, seed: int = 3) -> pd.DataFrame:
    """Return segments as training leaves them: sorted by adspace, a slope for each adspace, few with many requests."""
    rng = np.random.default_rng(seed)
    adspace = np.sort(rng.integers(0, ADSPACES, size))
    usual = np.exp(rng.normal(2.3, 0.3, size))
    return pd.DataFrame(
        {
            "segment_key": [f"{20_000 + a}|New%20York|android|{number}" for number, a in enumerate(adspace)],
            "requests": rng.zipf(1.5, size).clip(max=5_000),
            "level": rng.normal(-0.5, 1.0, size),
            "level_error": rng.uniform(0.05, 0.8, size),
            "own_share": rng.random(size),
            "slope": rng.normal(2.5, 0.3, ADSPACES)[adspace],
            "is_held": rng.random(size) < 0.05,
            "usual_bid_cpm": usual,
            "kept_bid_cpm": np.where(rng.random(size) < 0.7, usual, np.nan),
            "step_from_cpm": np.round(usual, 2),
            "trust_low_cpm": 2.0,
            "trust_high_cpm": 60.0,
            "value_cpm": np.where(rng.random(size) < 0.9, rng.gamma(4.0, 6.0, size), np.nan),
            "floor_cpm": np.where(rng.random(size) < 0.5, rng.gamma(2.0, 1.0, size), np.nan),
            "hidden_floor_cpm": 0.0,
        }
    )


def _measure(segments: pd.DataFrame, name: str, landscape: Landscape, *, repeats: int) -> Figure:
    level, slope, usual = (segments[column].to_numpy() for column in ("level", "slope", "usual_bid_cpm"))
    seconds = best_seconds(
        {
            "F": lambda: landscape.win_rate(level, slope, usual),
            "bids": lambda: plan_bids(segments, landscape=landscape, policy=POLICY, seed="20260203_150000"),
        },
        repeats=repeats,
    )
    bound = MAX_EVALUATIONS if len(segments) >= BOUND_FROM else None
    what = f"bids for {len(segments):,} segments, {name}"
    return Figure(what, seconds["bids"], seconds["F"], "one evaluation of F", "s", bound)
