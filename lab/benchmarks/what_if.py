"""What a what-if costs: another target and margin on all segments of a run, and the frontier beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lab.benchmarks.figures import Figure, best_seconds
from lab.benchmarks.inverting import ADSPACES, REFERENCE_CPM
from optimizer.core.config.settings import RunSettings, config_catalogue
from optimizer.runs.learned import ActiveBids, Learned
from optimizer.runs.pricing import Priceable, price_run
from optimizer.runs.what_if import WhatIf
from optimizer.training.job import TrainingReport

LONGEST_SECONDS: Mapping[int, float] = {5_000: 0.3, 100_000: 2.0}
"""By number of segments: a trader who moves a slider waits no longer for figures, moves and frontier together."""

RUN_ID = "20260204_060000"
SETTINGS = RunSettings(npi_enabled=True, max_bid_cpm=50.0)
NPIS = 5_000
CLICKS = 15
"""So few that the value of a win bounds no bid, and lambda has to be searched for."""

DAYS = [{"day": f"2026-01-{day:02d}", "level": 0.02 * (day % 3), "bids": 9_000.0} for day in range(1, 29)]
REPORT = TrainingReport(
    reference_cpm=REFERENCE_CPM, intercept=0.0, score_weight=1.0, slope=2.5, slope_error=0.1, bid_coefficient=2.5,
    bid_coefficient_error=0.1, unrivalled_share=0.05, is_slope_naive=False, is_held=False, calibration=[],
    wr_model_auc=0.7, wr_model_ece=0.01, wr_model_ece_low=0.005, wr_model_ece_high=0.02, wr_model_ece_noise=0.01,
    wr_model_anchor_bias=0.0, wr_model_lce=None, wr_model_logloss=0.6, wr_model_rounds=100, largest_fall=0.0,
    half_life_days=14.0, half_life_gain=None, half_life_gain_lower=None, ctr_model_auc=None, ctr_model_auc_error=None,
    ctr_model_gain_lower=None, ctr_model_used=False, global_click_rate=0.001, value_per_click=4.0,
    value_per_mille_views=0.0, served_bid_low_cpm=2.0, served_bid_high_cpm=50.0, train_until="2026-01-21",
    calibrate_until="2026-01-25", test_until="2026-01-29", day_levels=DAYS,
)  # fmt: skip


def measure_what_if(*, sizes: Sequence[int], repeats: int) -> list[Figure]:
    """Return what an answer costs at each number of segments, against `LONGEST_SECONDS` and against pricing a run."""
    return [figure for size in sizes for figure in _measure(size, repeats=repeats)]


def _measure(size: int, *, repeats: int) -> list[Figure]:
    learned, active = make_learned(size)
    what_if = _load(learned, active)
    targets = iter(np.linspace(0.3, 0.5, 2 * repeats))

    def answer() -> None:
        target = float(next(targets))
        what_if.price({"target_win_rate": target, "target_margin": target / 2})
        what_if.frontier({"target_win_rate": target})

    seconds = best_seconds(
        {
            "answer": answer,
            "run": lambda: price_run(learned, settings=SETTINGS, active=active, run_id=RUN_ID),
        },
        repeats=repeats,
    )
    what = f"a what-if of {size:,} segments with its frontier"
    figures = [Figure(what, seconds["answer"], seconds["run"], "pricing a run", "s")]
    if (longest := LONGEST_SECONDS.get(size)) is not None:
        figures.append(Figure(what, seconds["answer"], longest, "what a slider may take", "s", 1.0))
    return figures


def _load(learned: Learned, active: ActiveBids) -> WhatIf:
    priceable = Priceable.of(learned, active)
    what_if = WhatIf(RUN_ID, SETTINGS, tuple(config_catalogue()), RUN_ID, priceable, priceable)
    what_if.price({})  # what it computes of the run itself is kept, as a page keeps it between two questions
    return what_if


def make_learned(size: int, *, seed: int = 3) -> tuple[Learned, ActiveBids]:
    """Return what training leaves of a market with that many segments, and what the live run bids on them."""
    rng = np.random.default_rng(seed)
    adspace, usual = np.sort(rng.integers(0, ADSPACES, size)), np.exp(rng.normal(2.3, 0.3, size))
    requests = rng.zipf(1.5, size).clip(max=5_000).astype(float)
    segments = pd.DataFrame(
        {
            "adspace": [str(20_000 + number) for number in adspace],
            "region": [f"r{number}" for number in range(size)],
            "bids": 30 * requests,
            "wins": 9 * requests,
            "clicks": 0,
            "recent_requests": requests,
            "level": rng.normal(-1.4, 1.0, size),
            "level_shift": rng.normal(0.0, 0.3, size),
            "level_error": rng.uniform(0.05, 0.8, size),
            "slope": rng.normal(2.5, 0.3, ADSPACES)[adspace],
            "slope_error": 0.1,
            "is_slope_identified": rng.random(size) > 0.05,
            "usual_bid_cpm": usual,
            "recent_bid_cpm": usual,
            "click_rate": rng.gamma(4.0, 0.00025, size),
            "floor_cpm": np.where(rng.random(size) < 0.5, rng.gamma(2.0, 1.0, size), np.nan),
            "hidden_floor_cpm": 0.0,
        }
    )
    served = dict(zip(segments["adspace"] + "|" + segments["region"], np.round(usual, 2), strict=True))
    return Learned(segments, REPORT, ("adspace", "region"), None, _npis(rng), CLICKS), ActiveBids(served, served, 8.0)


def _npis(rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "npi": range(NPIS),
            "price_effect": 0.0,
            "click_effect": rng.normal(0.0, 0.2, NPIS),
            "bids": rng.integers(1, 500, NPIS),
            "views": 100,
            "clicks": 1,
            "multiplied_bids": 10,
            "log_multiplier_sum": 0.1,
        }
    )
