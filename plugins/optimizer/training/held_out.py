"""How a win-rate model does on days that it has not seen: the loss of each day, and each segment's rate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import xlogy

from optimizer.core.frames import rows_of
from optimizer.core.landscape.cells import unmask
from optimizer.core.serving.keys import segment_key
from optimizer.training.context import TrainingContext
from optimizer.training.win_rate import WinRate

MAX_SEGMENTS = 50
"""Number of segments, those with the most bids, that are reported one by one."""

_SURE_Z = 1.96
_LEAST_RATE = 1e-9


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was predicted of later days.

    cells: one row a cell with its block of time, bids, wins, predicted win rate and loss (nats, all bids of the cell).
    unknown_share: share of the bids whose segment the model had not seen; they are left out.
    """

    cells: pd.DataFrame
    unknown_share: float

    @property
    def loss(self) -> float:
        """The mean logistic loss of a bid, nats."""
        return float(self.cells["loss"].sum() / self.cells["bids"].sum())

    def daily(self) -> pd.DataFrame:
        """Return loss and bids of each day, or block of hours in a short window, in order."""
        return self.cells.groupby("block", sort=True)[["loss", "bids"]].sum()


def predict_days(context: TrainingContext, win_rate: WinRate, cells: pd.DataFrame) -> HeldOut:
    """Return what the model of the context says of the cells of later days, of segments that it knows."""
    features = list(context.job.features)
    anchors = context.cells.groupby("segment", sort=True)["anchor"].first()
    known = context.segments.assign(anchor=anchors.to_numpy())
    own = {feature: cells[feature].astype(str) for feature in features}
    keys = {feature: known[feature].astype(str) for feature in features}
    later = cells.drop(columns=["segment", "anchor"], errors="ignore").assign(**own)
    later = later.merge(known.assign(**keys), how="inner", on=features)
    logit = win_rate.curve.win_logit(later) + win_rate.levels.shift[later["segment"]]
    predicted = win_rate.curve.fit.win_rate(logit)
    unknown_share = 1 - float(later["bids"].sum() / cells["bids"].sum())
    return HeldOut(judge(later, predicted)[[*features, "block", "bids", "wins", "predicted", "loss"]], unknown_share)


def judge(cells: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
    """Return the cells with what was predicted of them and the loss of it."""
    rate = np.clip(predicted, _LEAST_RATE, 1 - _LEAST_RATE)
    wins, bids = cells["wins"].to_numpy(float), cells["bids"].to_numpy(float)
    return cells.assign(predicted=rate, loss=-xlogy(wins, rate) - xlogy(bids - wins, 1 - rate))


def segment_samples(cells: pd.DataFrame, features: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the largest held-out segments: predicted and observed win rate, and the mean loss of a bid.

    is_within_chance: whether that many bids may show the observed rate though the predicted one is true (95 %).

    Args:
        cells: of `judge`.
    """
    weighed = cells.assign(predicted=cells["predicted"] * cells["bids"])
    sums = weighed.groupby(list(features), observed=True, sort=True)[["bids", "wins", "predicted", "loss"]].sum()
    top = sums.sort_values("bids", ascending=False, kind="stable").head(MAX_SEGMENTS).reset_index()
    names = pd.DataFrame({feature: unmask(top[feature]) for feature in features}).to_numpy(object)
    samples = []
    for name, row in zip(names, rows_of(top), strict=True):
        predicted, observed = row.predicted / row.bids, row.wins / row.bids
        error = float(np.sqrt(predicted * (1 - predicted) / row.bids))
        samples.append(
            {
                "segment_key": segment_key(list(name)),
                "bids": float(row.bids),
                "predicted": float(predicted),
                "observed": float(observed),
                "loss": float(row.loss / row.bids),
                "is_within_chance": bool(abs(observed - predicted) <= _SURE_Z * error),
            }
        )
    return samples
