"""What a training job learns from: its cells, grouped and split by time, with the identified jitter."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.landscape.cells import OWN_JITTER, TimeSplit, split_by_time, weighted_quantile
from optimizer.core.landscape.feature_signal import remove_price
from optimizer.core.landscape.hidden_floors import HiddenFloors, find_floors, find_floors_by
from optimizer.core.landscape.jitter import learn_variation
from optimizer.core.landscape.recency import HalfLife, choose_half_life
from optimizer.core.landscape.second_price import add_shadow_bids
from optimizer.core.landscape.slope import Slope, find_slope, randomised_rows
from optimizer.training.boosting import Categories
from optimizer.training.job import TrainingJob


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """What is learned from: the cells as they were bid, and what they say about winning.

    priced: the cells of bids above hidden floors; in second price with shadow bids.
    hidden_floors: by anchor value, of `cells`.
    """

    job: TrainingJob
    cells: pd.DataFrame
    priced: pd.DataFrame
    hidden_floors: HiddenFloors
    segments: pd.DataFrame
    split: TimeSplit
    categories: Categories
    reference_cpm: float
    is_randomised: bool
    half_life: HalfLife


def open_context(job: TrainingJob, cells: pd.DataFrame) -> TrainingContext:
    """Return what the prepared cells hold for training: segments, anchor values, slices of days, whether bids varied.

    Raises:
        DataError: too few days, or a slice of them without a win or a loss.
    """
    cells = cells.copy() if OWN_JITTER in cells else _with_variation(cells, job)
    cells["segment"] = cells.groupby(list(job.features), observed=True, sort=True).ngroup()
    cells["anchor"] = cells.groupby(job.features[0], observed=True, sort=True).ngroup()
    floors = find_floors(cells, group=cells["anchor"].to_numpy(), size=int(cells["anchor"].max()) + 1)
    above = cells[floors.is_above].reset_index(drop=True)
    priced = add_shadow_bids(above) if job.is_second_price else above
    rows = randomised_rows(priced)
    slope = find_slope(rows, rows["segment"].to_numpy())
    is_randomised = slope is not None and slope.is_identified
    return TrainingContext(
        job=job,
        cells=cells,
        priced=priced,
        hidden_floors=floors,
        segments=cells.groupby("segment", sort=True)[list(job.features)].first().reset_index(),
        split=split_by_time(cells),
        categories=Categories.of(cells, job.features),
        reference_cpm=float(np.exp(weighted_quantile(cells["log_bid"], cells["bids"], 0.5))),
        is_randomised=is_randomised,
        half_life=_half_life(job, priced, slope if is_randomised else None),
    )


def _with_variation(cells: pd.DataFrame, job: TrainingJob) -> pd.DataFrame:
    return learn_variation(cells, job.features, floors=find_floors_by(cells, job.features[0]))[0]


def _half_life(job: TrainingJob, priced: pd.DataFrame, slope: Slope | None) -> HalfLife:
    if job.half_life_days is not None:
        return HalfLife(job.half_life_days)
    return choose_half_life(remove_price(priced, slope=None if slope is None else slope.value))
