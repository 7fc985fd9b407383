"""What the new bids would have brought on the log's last days, against the active run's."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd
from scipy.special import expit

from optimizer.core.landscape.cells import MISSING
from optimizer.core.pricing.backtest import Backtest, run_backtest
from optimizer.core.serving.keys import segment_key
from optimizer.training.job import TrainingReport

BACKTEST_DAYS = 14
"""This many of the latest days are replayed; markets change."""


@dataclass(frozen=True, slots=True)
class Served:
    """How a run bids beside its table.

    jitter_sd: standard deviation of its jitter.
    fallback_cpm: what it bids on segments that it does not serve.
    """

    jitter_sd: float
    fallback_cpm: float


def backtest_bids(
    cells: pd.DataFrame,
    *,
    features: tuple[str, ...],
    bids: pd.DataFrame,
    report: TrainingReport,
    new: Served,
    active: Served,
    run_id: str,
) -> Backtest:
    """Return the backtest of a bid table against the bids of the active run in it.

    Args:
        cells: of `optimizer.core.landscape.cells`, prepared, by these features, with what earlier runs planned.
        bids: segment_key, planned_bid_cpm, is_served, previous_bid_cpm, level, slope, value_cpm.
        new, active: how both runs bid beside the table; earlier runs are taken to have had the active one's jitter.
        run_id: seeds the bootstrap.
    """
    latest = cells[cells["day"] > cells["day"].max() - pd.Timedelta(days=BACKTEST_DAYS)]
    segments = bids.set_index("segment_key").assign(
        planned_new_cpm=lambda table: table["planned_bid_cpm"].where(
            table["is_served"] | table["is_blocked"], new.fallback_cpm
        ),
        planned_active_cpm=lambda table: table["previous_bid_cpm"].fillna(active.fallback_cpm),
    )
    groups = latest.groupby(list(features), observed=True, sort=True)
    keys = [
        segment_key([None if value == MISSING else value for value in (name if isinstance(name, tuple) else (name,))])
        for name in groups.groups
    ]
    position = segments.index.get_indexer(pd.Index(keys))
    latest = latest.assign(segment=position[groups.ngroup().to_numpy()])
    level, slope = segments["level"].to_numpy(float), segments["slope"].to_numpy(float)
    log_reference = np.log(report.reference_cpm)

    def outcome(segment: np.ndarray, log_base: np.ndarray, log_multiplier: np.ndarray) -> np.ndarray:
        return report.tails(expit(level[segment] + slope[segment] * (log_base - log_reference)))

    return run_backtest(
        latest,
        segments=segments.reset_index(),
        outcome=outcome,
        logging_jitter_sd=active.jitter_sd,
        active_jitter_sd=active.jitter_sd,
        new_jitter_sd=new.jitter_sd,
        seed=crc32(run_id.encode()),
    )
