"""A bid table of known numbers for the checks."""

from typing import Any

import numpy as np
import pandas as pd
from core.noted_figures import bid_figures

from optimizer.core.checks.measures import BidMeasures, measure_bids
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_jitter import JitterReach, jitter_factors
from optimizer.core.records.bid_figures import BidFigures
from optimizer.core.serving.keys import segment_key

LANDSCAPE = Landscape(10.0)
SETTINGS = RunSettings(target_win_rate=0.5, max_bid_cpm=30.0, target_margin=0.3)
FEATURES = ("adspace", "region")
JITTER_SD = 0.05
STEP_LIMIT = 0.15


def bid_table(segments: int = 200, **columns: Any) -> pd.DataFrame:
    """Return a bid table as compute_bids stages it, the bids at a win rate of one half, with the columns replaced."""
    chance = np.random.default_rng(1)
    level = chance.normal(0, 0.5, segments)
    adspace = [f"a{number % 20}" for number in range(segments)]
    region = [f"r{number // 20}" for number in range(segments)]
    keys = pd.Series([segment_key(pair) for pair in zip(adspace, region, strict=True)])
    planned = LANDSCAPE.bid_for_win_rate(level, np.full(segments, 2.0), 0.5)
    jitter = jitter_factors(keys, seed="run", reach=JitterReach(JITTER_SD))
    requests = chance.integers(50, 500, segments).astype(float)
    table = pd.DataFrame(
        {
            "segment_key": keys,
            "adspace": adspace,
            "region": region,
            "bids": requests,
            "requests": requests,
            "level": level,
            "slope": 2.0,
            "value_cpm": 40.0,
            "planned_bid_cpm": planned,
            "previous_bid_cpm": planned,
            "kept_bid_cpm": planned,
            "usual_bid_cpm": planned,
            "step_from_cpm": planned,
            "suggested_bid_cpm": np.round(planned * jitter, 2),
            "is_served": True,
            "is_blocked": False,
            "is_held": False,
            "reason": "target",
        }
    )
    return table.assign(**columns)


def measured(bids: pd.DataFrame) -> BidMeasures:
    """Return the figures of the table."""
    return measure_bids(bids, landscape=LANDSCAPE, is_second_price=False, step_limit=STEP_LIMIT)


def figures_of(bids: pd.DataFrame, **changes: Any) -> BidFigures:
    """Return what compute_bids would have noted of the table."""
    found = measured(bids)
    names = ("total_segments", "segments_count", "segments_in_memcache", "bid_median", "bid_min", "bid_max")
    own: dict[str, Any] = {
        **{name: getattr(found, name) for name in names},
        "expected_win_rate": found.win_rate,
        "active_expected_win_rate": found.win_rate,
        "active_expected_cpm": found.spend_cpm / found.win_rate,
        "active_row_coverage": 1.0,
        "active_segments_in_memcache": len(bids),
        "active_run_problem": None,
        "fallback_bid_cpm": 10.0,
        "step_limit": STEP_LIMIT,
        "jitter_sd": JITTER_SD,
    }
    return bid_figures(**own | changes)
