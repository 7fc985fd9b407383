"""How each method does on an auction log: its figures, the outcomes of its bids and the verdict."""

from dataclasses import dataclass

import pandas as pd

CURVE_SHARES = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)
"""Where curves are judged: at these multiples of every logged bid."""

TARGET_WIN_RATE = 0.30
"""The target of the optimizer's bids if market prices show what they would have won."""


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """One method on the test rows.

    auc, log_loss, ece: at the logged bids; predictions are kept between .0001 and .9999.
    curve: mean predicted win rate at each of CURVE_SHARES.
    landscape_error: mean |predicted win rate - share of market prices up to the bid| by anchor value over CURVE_SHARES;
        None where prices are unknown. Auctions lost for other reasons count against all methods equally.
    """

    method: str
    auc: float
    log_loss: float
    ece: float
    curve: tuple[float, ...]
    landscape_error: float | None


@dataclass(frozen=True, slots=True)
class BidOutcome:
    """What bids for TARGET_WIN_RATE would have won on the test rows, and paid where the winner pays its bid.

    name: whose bids; held_share: of the test rows, whose bid stays what it was as the log does not identify a slope.
    flat_cpm: the one bid for all that wins as many.
    """

    name: str
    win_rate: float
    cpm: float
    flat_cpm: float
    held_share: float


@dataclass(frozen=True, slots=True)
class LogJudgement:
    """What the log says of the methods.

    features, anchor, segment_features: names in the file; the last are those that the optimizer's segments are made of.
    market: share of market prices up to each of CURVE_SHARES times the bid; None where `obstacle` says why not.
    outcomes: of the optimizer's bids, and of what it would bid if it trusted a slope that is not identified; empty
        where market prices are unknown.
    """

    name: str
    train_rows: int
    test_rows: int
    test_from: pd.Timestamp
    features: tuple[str, ...]
    anchor: str
    segment_features: tuple[str, ...]
    methods: tuple[MethodFigures, ...]
    market: tuple[float, ...] | None
    obstacle: str | None
    outcomes: tuple[BidOutcome, ...] = ()

    @property
    def best(self) -> MethodFigures:
        """The method with the least landscape error or, where that is unknown, the least log loss."""
        if self.market is None:
            return min(self.methods, key=lambda figures: figures.log_loss)
        return min(self.methods, key=lambda figures: figures.landscape_error)

    @property
    def verdict(self) -> str:
        """One sentence: which method has the best curve."""
        if self.market is None:
            return (
                f"Which method has the best curve cannot be said, because {self.obstacle}; "
                f"at the bids as they were, {self.best.method} predicts best (log loss {self.best.log_loss:.4f})."
            )
        second = min((m for m in self.methods if m is not self.best), key=lambda figures: figures.landscape_error)
        return (
            f"The best curve: {self.best.method}, with a landscape error of {self.best.landscape_error:.4f}; "
            f"next comes {second.method} with {second.landscape_error:.4f}."
        )
