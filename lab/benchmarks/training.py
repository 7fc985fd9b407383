"""Training on cells against LightGBM alone: on the same cells, and on one row an auction."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd

from lab.benchmarks.extracting import CELLS_FILE
from lab.benchmarks.figures import Figure, best_seconds
from lab.evaluation.log import CANDIDATES
from optimizer.core.landscape.cells import group_cells, prepare_cells, recency_weights, unmask
from optimizer.core.landscape.jitter import learn_variation
from optimizer.training.boosting import Categories
from optimizer.training.fitting import FittedModels, fit
from optimizer.training.job import TrainingJob

FEATURES = ("internal_adspace_id", "geo_region_name", "os_code")
HALF_LIFE_DAYS = 21.0
MAX_OF_RAW_ROWS = 2.0
MAX_OF_CELLS = 4.0


@dataclass(frozen=True, slots=True)
class Rows:
    """What LightGBM alone is given: a design with one label and one weight a row."""

    design: np.ndarray
    won: np.ndarray
    weights: np.ndarray


def measure_training(folder: Path, *, repeats: int) -> list[Figure]:
    """Return what a training job costs against LightGBM alone, with the job's parameters and rounds, on one thread.

    Args:
        folder: holds a log and its cells, as `measure_cells` leaves them.
    """
    job, cells = training_input(pd.read_parquet(folder / CELLS_FILE))
    raw = raw_rows(pd.read_parquet(folder / "bids.parquet", columns=["bid_id", "bid_ts", "bid_cpm", *FEATURES]),
                   won=pd.read_parquet(folder / "views.parquet", columns=["bid_id"])["bid_id"])  # fmt: skip
    fitted = fit(job, cells)
    alone = {"raw": train_alone(fitted, raw), "cells": train_alone(fitted, cell_rows(cells))}
    seconds = best_seconds({"fit": lambda: fit(job, cells), **alone}, repeats=repeats)
    what = f"training on the {len(cells):,} cells of {len(raw.won):,} bids"
    return [
        Figure(what, seconds["fit"], seconds["raw"], "LightGBM alone, one row a bid", "s", MAX_OF_RAW_ROWS),
        Figure(what, seconds["fit"], seconds["cells"], "LightGBM alone on these cells", "s", MAX_OF_CELLS),
    ]


def training_input(extracted: pd.DataFrame) -> tuple[TrainingJob, pd.DataFrame]:
    """Return the job and the cells as the pipeline hands them to the training process."""
    cells = group_cells(learn_variation(prepare_cells(extracted, CANDIDATES), CANDIDATES)[0], FEATURES)
    job = TrainingJob(
        features=FEATURES,
        half_life_days=HALF_LIFE_DAYS,
        total_views=int(cells["wins"].sum()),
        total_clicks=int(cells["clicks"].sum()),
        seed=1,
        threads=1,
    )
    return job, cells.assign(**{feature: unmask(cells[feature]) for feature in FEATURES})


def raw_rows(bids: pd.DataFrame, *, won: pd.Series) -> Rows:
    """Return one row a bid; `won` holds the bid_id of each view."""
    weights = recency_weights(bids["bid_ts"].dt.floor("D"), half_life_days=HALF_LIFE_DAYS)
    return _rows(bids, np.log(bids["bid_cpm"]), bids["bid_id"].isin(won).to_numpy(float), weights)


def cell_rows(cells: pd.DataFrame) -> Rows:
    """Return two rows a cell, weighed by what was won and by what was lost."""
    weights = recency_weights(cells["day"], half_life_days=HALF_LIFE_DAYS)
    lost = (cells["bids"] - cells["wins"]).to_numpy(float)
    doubled = pd.concat([cells, cells], ignore_index=True)
    won = np.repeat([1.0, 0.0], len(cells))
    mass = np.concatenate([cells["wins"].to_numpy(float) * weights, lost * weights])
    return _rows(doubled, doubled["log_bid"], won, mass)


def train_alone(fitted: FittedModels, rows: Rows) -> Callable[[], lgb.Booster]:
    """Return what trains one model with the parameters and the rounds of the fitted one, and nothing else."""
    model = lgb.Booster(model_str=fitted.win_model)
    names = model.feature_name()

    def train() -> lgb.Booster:
        data = lgb.Dataset(
            rows.design, rows.won, weight=rows.weights, feature_name=names, categorical_feature=names[:-1]
        )
        return lgb.train(alone_parameters(model), data, num_boost_round=model.num_trees())

    return train


def alone_parameters(model: lgb.Booster) -> dict[str, object]:
    """Return the parameters that the model was trained with, without those that the call itself gives."""
    given = {"num_iterations", "categorical_feature", "early_stopping_round"}
    return {name: value for name, value in model.params.items() if name not in given} | {"verbosity": -1}


def _rows(frame: pd.DataFrame, log_bid: pd.Series, won: np.ndarray, weights: np.ndarray) -> Rows:
    codes = Categories.of(frame, FEATURES).encode(frame)
    return Rows(np.column_stack([codes, log_bid.to_numpy(float)]), won, weights)
