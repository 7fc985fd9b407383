"""LightGBM on weighted cells: a win-rate model that never falls with the price, and a click model."""

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd

from optimizer.errors import DataError

MAX_ROUNDS = 400
EARLY_STOPPING_ROUNDS = 30
MONOTONE_GRID_POINTS = 64

# min_sum_hessian_in_leaf counts weight; the counts of rows mean nothing on cells, so they are switched off.
_PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_sum_hessian_in_leaf": 20.0,
    "min_data_in_leaf": 1,
    "min_data_per_group": 1,
    "cat_smooth": 10.0,
    "cat_l2": 10.0,
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class Categories:
    """The known values of each feature; a value's code is its position, an unknown value has the code -1 (missing)."""

    values: dict[str, list[str]]

    @classmethod
    def of(cls, cells: pd.DataFrame, features: Sequence[str]) -> "Categories":
        return cls({feature: sorted(cells[feature].astype(str).unique()) for feature in features})

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the codes, shape (n_rows, n_features)."""
        columns = [
            pd.Categorical(frame[feature].astype(str), categories=values).codes
            for feature, values in self.values.items()
        ]
        return np.column_stack(columns).astype(float)


def fit_win_model(
    train: pd.DataFrame,
    *,
    categories: Categories,
    weights: np.ndarray,
    later: pd.DataFrame | None = None,
    rounds: int = MAX_ROUNDS,
    seed: int,
    threads: int,
) -> lgb.Booster:
    """Return a model of P(win | features, log bid), increasing in the bid; stopped early on the later days if given.

    Raises:
        DataError: the fitted model falls somewhere on a grid of bids.
    """
    design = np.column_stack([categories.encode(train), train["log_bid"]])
    constraints = [0] * len(categories.values) + [1]
    booster = _fit(
        design,
        successes=train["wins"].to_numpy(float) * weights,
        failures=(train["bids"] - train["wins"]).to_numpy(float) * weights,
        later=None
        if later is None
        else (np.column_stack([categories.encode(later), later["log_bid"]]), later, "wins", "bids"),
        names=[*categories.values, "log_bid"],
        extra={"monotone_constraints": constraints, "seed": seed, "num_threads": threads},
        rounds=rounds,
    )
    if (fall := largest_fall(booster, train, categories=categories)) > 1e-9:
        raise DataError(f"the win-rate model falls by {fall:.3g} as the bid rises; monotone constraints do not hold")
    return booster


def fit_click_model(
    train: pd.DataFrame, *, categories: Categories, weights: np.ndarray, rounds: int = 60, seed: int, threads: int
) -> lgb.Booster:
    """Return a model of P(click | win, features)."""
    return _fit(
        categories.encode(train),
        successes=train["clicks"].to_numpy(float) * weights,
        failures=(train["wins"] - train["clicks"]).to_numpy(float) * weights,
        later=None,
        names=list(categories.values),
        extra={
            "seed": seed,
            "num_threads": threads,
            "learning_rate": 0.05,
            "num_leaves": 7,
            "min_sum_hessian_in_leaf": 0.5,
        },
        rounds=rounds,
    )


def win_scores(booster: lgb.Booster, frame: pd.DataFrame, *, categories: Categories, log_bid: np.ndarray) -> np.ndarray:
    """Return the logit of the modelled win rate of each row at the given log bid."""
    return np.asarray(booster.predict(np.column_stack([categories.encode(frame), log_bid]), raw_score=True))


def click_rates(booster: lgb.Booster, frame: pd.DataFrame, *, categories: Categories) -> np.ndarray:
    """Return the modelled click rate of each row."""
    return np.asarray(booster.predict(categories.encode(frame)))


def largest_fall(booster: lgb.Booster, cells: pd.DataFrame, *, categories: Categories, segments: int = 200) -> float:
    """Return the largest fall of the score along a grid of rising bids, over the segments with most bids."""
    features = list(categories.values)
    top = cells.groupby(features, observed=True)["bids"].sum().nlargest(segments).reset_index()
    grid = np.linspace(cells["log_bid"].min() - 0.5, cells["log_bid"].max() + 0.5, MONOTONE_GRID_POINTS)
    repeated = top.loc[top.index.repeat(len(grid))]
    scores = win_scores(booster, repeated, categories=categories, log_bid=np.tile(grid, len(top)))
    return float(max(0.0, -np.diff(scores.reshape(len(top), len(grid)), axis=1).min()))


def _fit(design, *, successes, failures, later, names, extra, rounds) -> lgb.Booster:
    data = lgb.Dataset(
        np.concatenate([design, design]),
        label=np.repeat([1.0, 0.0], len(design)),
        weight=_checked(np.concatenate([successes, failures])),
        feature_name=names,
        categorical_feature=[name for name in names if name != "log_bid"],
        free_raw_data=False,
    )
    callbacks, watched = [], []
    if later is not None:
        later_design, frame, success, trial = later
        wins = frame[success].to_numpy(float)
        watched = [
            data.create_valid(
                np.concatenate([later_design, later_design]),
                label=np.repeat([1.0, 0.0], len(later_design)),
                weight=np.concatenate([wins, frame[trial].to_numpy(float) - wins]),
            )
        ]
        callbacks = [lgb.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)]
    return lgb.train({**_PARAMETERS, **extra}, data, num_boost_round=rounds, valid_sets=watched, callbacks=callbacks)


def _checked(weights: np.ndarray) -> np.ndarray:
    """LightGBM trains without a word on weights that are negative or not finite; we do not."""
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise DataError("the training weights are not all finite, non-negative and somewhere positive; check the cells")
    return weights
