"""What the second family's table shows of one seed in addition to its goals."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SecondFigures:
    """One run on the log, and the settled days of the loop (NaN without one).

    win_rate, loop_win_rate: achieved; forecast: by the run, for the week. cpm_over_flat, cpm_over_ideal: at the same
    win rate. bid_over_ideal: median, ideal at the target. said, is_right, is_promoted: see truth.second_family.
    """

    note: str
    target_win_rate: float
    win_rate: float
    forecast: float
    loop_win_rate: float
    last_win_rate: float
    cpm_over_flat: float
    loop_cpm_over_flat: float
    cpm_over_ideal: float
    bid_over_ideal: float
    said: Literal["learning", "held", "naive", "bids"]
    is_right: bool
    is_promoted: bool
