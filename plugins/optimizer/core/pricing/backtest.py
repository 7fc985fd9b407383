"""What new bids would have brought on the requests of the last days, against the active run's: before they go live.

The log's base bids are planned bids times a jitter that was drawn at random, so logged bids that happen to lie where a
policy would bid show what it would have won. Two estimates are made of that: bounds that need no curve
(`backtest_log.replay_bounds`), and a doubly robust estimate with intervals (`backtest_estimate`). Without enough bids
of the log near the policies' bids, or where the two contradict each other, the backtest refuses and says why.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from optimizer.core.pricing.backtest_estimate import (
    Outcome,
    QuantityComparison,
    calibrate,
    compare,
    evaluate,
)
from optimizer.core.pricing.backtest_log import find_gap, planned_bids, read_log, replay_bounds
from optimizer.errors import DataError

MIN_EFFECTIVE_SAMPLE = 300.0
MIN_SUPPORTED_SHARE = 0.5
"""Least share of requests whose new planned bid is among the bids that the jitter could have made."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """The comparison, or why there is none.

    reason: why the log does not support a comparison; None where it does.
    effective_sample_size: (sum of weights)^2 / sum of squared weights over requests, of the policy that has less.
    supported_share: share of requests whose new planned bid is within the log's jitter; the rest comes from the curve.
    replay_low, replay_high: bounds of the new policy's win rate that need no curve; None without days.
    rows: one a quantity of `QUANTITIES`; empty where the backtest refuses.
    """

    is_supported: bool
    reason: str | None
    days: int
    requests: int
    effective_sample_size: float = 0.0
    supported_share: float = 0.0
    replay_low: float | None = None
    replay_high: float | None = None
    rows: tuple[QuantityComparison, ...] = ()

    def find(self, quantity: str) -> QuantityComparison:
        """Return the row of a quantity.

        Raises:
            KeyError: the row does not exist.
        """
        return {row.quantity: row for row in self.rows}[quantity]

    def to_record(self) -> dict[str, Any]:
        """Return plain values that JSON takes; no NaN among them."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


def run_backtest(
    cells: pd.DataFrame,
    *,
    segments: pd.DataFrame,
    outcome: Outcome,
    logging_jitter_sd: float,
    active_jitter_sd: float,
    new_jitter_sd: float,
    seed: int,
) -> Backtest:
    """Return what the active and the new policy would have brought on the requests of the cells.

    Args:
        cells: of the days to compare on, with day, segment (code), bids, wins, cost_cpm_sum, log_bid, log_base (NaN
            where no optimizer priced the bid) and log_planned (of the base bid before jitter; NaN where unknown: then
            the segment's mean log base stands for it). Days without any jittered bid are left out.
        segments: indexed by segment code, with planned_active_cpm and planned_new_cpm (before jitter; NaN: no bid) and
            value_cpm, what a thousand wins earn (NaN unknown: then there is no surplus and no margin).
        outcome: the run's win-rate curve.
        logging_jitter_sd, active_jitter_sd, new_jitter_sd: of the factors around 1, truncated at 2 sd.
        seed: of the bootstrap.

    Raises:
        DataError: a cell's segment is not among the segments.
    """
    log = read_log(cells, segments, jitter_sd=logging_jitter_sd)
    active_cpm, new_cpm = (planned_bids(log, segments[f"planned_{name}_cpm"]) for name in ("active", "new"))
    low, high = replay_bounds(log, new_cpm, jitter_sd=new_jitter_sd) if log.days else (None, None)
    found = Backtest(False, find_gap(log), log.days, int(log.bids.sum()), replay_low=low, replay_high=high)
    if found.reason is not None:
        return found
    try:
        curve = calibrate(log, outcome)
    except DataError as error:
        return replace(found, reason=str(error))
    active = evaluate(log, curve, active_cpm, jitter_sd=active_jitter_sd)
    new = evaluate(log, curve, new_cpm, jitter_sd=new_jitter_sd)
    found = replace(
        found,
        effective_sample_size=min(active.effective_sample_size, new.effective_sample_size),
        supported_share=new.supported_share,
    )
    if reason := _find_missing_support(found):
        return replace(found, reason=reason)
    rows = compare(log, curve, [active, new], seed=seed)
    if reason := _find_contradiction(rows[0], found):
        return replace(found, reason=reason)
    return replace(found, is_supported=True, rows=rows)


def _find_missing_support(found: Backtest) -> str | None:
    """What the log lacks for a comparison."""
    if found.supported_share < MIN_SUPPORTED_SHARE:
        return (
            f"only {found.supported_share:.0%} of the requests are in segments whose new bid lies among the logged "
            f"bids, at least {MIN_SUPPORTED_SHARE:.0%} are needed: take smaller steps"
        )
    if found.effective_sample_size < MIN_EFFECTIVE_SAMPLE:
        return (
            f"the logged bids near the policies' bids are worth {found.effective_sample_size:.0f} requests, at "
            f"least {MIN_EFFECTIVE_SAMPLE:.0f} are needed: take more days, or smaller steps"
        )
    return None


def _find_contradiction(won: QuantityComparison, found: Backtest) -> str | None:
    """Where the estimated win rate and the replay's bounds have nothing in common."""
    low, high = found.replay_low, found.replay_high
    if not _is_apart((won.new_low, won.new_high), (low, high)):
        return None
    return (
        f"the win rate {won.new:.3f} ({won.new_low:.3f} to {won.new_high:.3f}) contradicts the replay of the log, "
        f"{low:.3f} to {high:.3f}: check the planned bids and the jitter of the runs that made the log"
    )


def _is_apart(one: tuple[float | None, float | None], other: tuple[float | None, float | None]) -> bool:
    """Whether two intervals have nothing in common; one that is not known is not apart."""
    (one_low, one_high), (other_low, other_high) = one, other
    if one_low is None or one_high is None or other_low is None or other_high is None:
        return False
    return one_high < other_low or one_low > other_high
