"""The log that a backtest replays: its cells as arrays, what it lacks, and what it shows without any curve."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

from optimizer.errors import DataError

MIN_DAYS = 7
JITTER_TRUNCATION_SD = 2.0

BELOW_TRUNCATION = float(ndtr(-JITTER_TRUNCATION_SD))
"""Probability of a normal jitter below the truncation."""

JITTER_MASS = 1 - 2 * BELOW_TRUNCATION
"""Probability of a normal jitter between both truncations."""

_ROUNDING_SD = 0.5  # cents, and centres that are estimated, put logged bids this far outside the truncation
_MIN_SPREAD_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class BacktestLog:
    """The cells of days with jittered bids, as arrays of shape (n_cells,); logs of CPM. `jitter` is base / planned."""

    day: np.ndarray
    segment: np.ndarray
    bids: np.ndarray
    wins: np.ndarray
    cost_cpm: np.ndarray
    log_base: np.ndarray
    log_multiplier: np.ndarray
    log_planned: np.ndarray
    log_usual: np.ndarray
    value_cpm: np.ndarray
    is_randomised: np.ndarray
    jitter_sd: float
    days: int
    size: int

    @property
    def jitter(self) -> np.ndarray:
        """Base bid / planned bid."""
        return np.exp(self.log_base - self.log_planned)

    def by_day(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of the cells' values, shape (days,)."""
        return np.bincount(self.day, values, minlength=self.days)

    def by_segment(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of the cells' values, shape (size,)."""
        return np.bincount(self.segment, values, minlength=self.size)


def read_log(cells: pd.DataFrame, segments: pd.DataFrame, *, jitter_sd: float) -> BacktestLog:
    """Return the days with jittered bids; `cells` and `segments` are as in `backtest.run_backtest`.

    Raises:
        DataError: a cell's segment is not among the segments.
    """
    jittered_days = cells.loc[cells["log_base"].notna(), "day"].unique()
    cells = cells[cells["day"].isin(jittered_days)]
    segment = segments.index.get_indexer(pd.Index(cells["segment"]))
    if (segment < 0).any():
        unknown = cells["segment"][segment < 0].iloc[0]
        raise DataError(f"segment {unknown} of the cells is not among the segments of the backtest; give its bids")
    day, days = pd.factorize(cells["day"], sort=True)
    is_priced = cells["log_base"].notna().to_numpy()
    log_base = cells["log_base"].fillna(cells["log_bid"]).to_numpy(float)
    bids = cells["bids"].to_numpy(float)
    usual = _segment_means(segment, log_base, bids=np.where(is_priced, bids, 1e-9 * bids))
    planned = cells["log_planned"].to_numpy(float)
    planned = np.where(np.isnan(planned), usual, planned)
    deviation = np.abs(np.exp(log_base - planned) - 1)
    return BacktestLog(
        day=day,
        segment=segment,
        bids=bids,
        wins=cells["wins"].to_numpy(float),
        cost_cpm=cells["cost_cpm_sum"].to_numpy(float),
        log_base=log_base,
        log_multiplier=cells["log_bid"].to_numpy(float) - log_base,
        log_planned=planned,
        log_usual=usual,
        value_cpm=segments["value_cpm"].to_numpy(float)[segment],
        is_randomised=is_priced & (deviation <= (JITTER_TRUNCATION_SD + _ROUNDING_SD) * jitter_sd),
        jitter_sd=jitter_sd,
        days=len(days),
        size=len(segments),
    )


def _segment_means(segment: np.ndarray, values: np.ndarray, *, bids: np.ndarray) -> np.ndarray:
    sums = np.bincount(segment, bids * values)
    return sums[segment] / np.bincount(segment, bids)[segment]


def planned_bids(log: BacktestLog, planned_cpm: pd.Series) -> np.ndarray:
    """Return the policy's planned bid of each cell, CPM; 0 where it makes none."""
    return np.nan_to_num(planned_cpm.to_numpy(float))[log.segment]


def find_gap(log: BacktestLog) -> str | None:
    """Return what the log lacks for any comparison, or None."""
    if log.days < MIN_DAYS:
        return f"{log.days} days of the log have jittered bids, at least {MIN_DAYS} are needed: wait for more days"
    if not 0 < log.wins.sum() < log.bids.sum():
        return "the log has no wins or no losses: a curve cannot be fitted to it"
    randomised = np.where(log.is_randomised, log.bids, 0.0)
    spread = np.sqrt((randomised * (log.jitter - 1) ** 2).sum() / max(1.0, randomised.sum()))
    if log.jitter_sd <= 0 or spread < _MIN_SPREAD_SHARE * log.jitter_sd:
        return (
            f"the logged bids vary by {spread:.3f} around the planned ones where a jitter of {log.jitter_sd:.3f} was "
            "expected: bids that were not varied at random say nothing about other bids; set exploration_mode"
        )
    return None


def replay_bounds(log: BacktestLog, planned_cpm: np.ndarray, *, jitter_sd: float) -> tuple[float, float]:
    """Return bounds of the policy's win rate that hold for one-dimensional auctions.

    What was won is won at a higher bid, and what was lost is lost at a lower one: the policy wins at least the wins it
    would have kept, and at most those and the losses that it would have outbid.
    """
    has_bid = planned_cpm > 0
    needed = np.exp(log.log_base) / np.where(has_bid, planned_cpm, 1.0)
    below = np.where(has_bid, jitter_distribution(needed, sd=jitter_sd), 1.0)
    kept = (log.wins * (1 - below)).sum()
    outbid = ((log.bids - log.wins) * (1 - below)).sum()
    might_keep = (log.wins * has_bid).sum()
    return float(kept / log.bids.sum()), float((might_keep + outbid) / log.bids.sum())


def jitter_density(factor: np.ndarray, *, sd: float) -> np.ndarray:
    """Return the density of the log of a jitter factor."""
    z = (factor - 1) / sd
    inside = np.exp(-(z**2) / 2) * factor / (np.sqrt(2 * np.pi) * sd * JITTER_MASS)
    return np.where(np.abs(z) <= JITTER_TRUNCATION_SD + 1e-9, inside, 0.0)


def jitter_distribution(factor: np.ndarray, *, sd: float) -> np.ndarray:
    """Return P(jitter <= factor); with an sd of 0 the jitter is 1."""
    if sd == 0:
        return np.asarray(factor >= 1, dtype=float)
    z = np.clip((factor - 1) / sd, -JITTER_TRUNCATION_SD, JITTER_TRUNCATION_SD)
    return (ndtr(z) - BELOW_TRUNCATION) / JITTER_MASS
