"""LightGBM on weighted cells: a win-rate model that never falls with the price, and a click model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from optimizer.core.landscape.cells import PRICE_BUCKET_WIDTH
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
        return cls({feature: sorted(cells[feature].drop_duplicates().astype(str)) for feature in features})

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the codes, shape (n_rows, n_features)."""
        columns = [_encode(frame[feature], values) for feature, values in self.values.items()]
        return np.column_stack(columns).astype(float)


def _encode(column: pd.Series, values: Sequence[str]) -> np.ndarray:
    """The position of each row's value among the values, -1 where it is not: each distinct value is looked up once."""
    codes, distinct = pd.factorize(column)
    return np.append(pd.Index(values).get_indexer(pd.Index(distinct).astype(str)), -1)[codes]


@dataclass(frozen=True, slots=True)
class Boosting:
    """How LightGBM trains; the same seed gives the same model.

    parameters: LightGBM's, instead of the usual ones.
    scheduler: of the Dask cluster that trains; None: this process does.
    """

    seed: int
    threads: int
    parameters: Mapping[str, object] = field(default_factory=dict)
    scheduler: str | None = None


def fit_win_model(
    train: pd.DataFrame,
    *,
    categories: Categories,
    weights: np.ndarray,
    boosting: Boosting,
    rounds: int = MAX_ROUNDS,
    later: pd.DataFrame | None = None,
) -> lgb.Booster:
    """Return a model of P(win | features, log bid), increasing in the bid; stopped early on the later days if given.

    Raises:
        DataError: the fitted model falls somewhere on a grid of bids.
    """
    booster = _fit(
        _win_rows(train, categories, weights),
        later=None if later is None else _win_rows(later, categories, np.ones(len(later))),
        names=[*categories.values, "log_bid"],
        boosting=boosting,
        parameters={**boosting.parameters, "monotone_constraints": [0] * len(categories.values) + [1]},
        rounds=rounds,
    )
    if (fall := largest_fall(booster, train, categories=categories)) > 1e-9:
        raise DataError(
            f"the win-rate model falls by {fall:.3g} as the bid rises: the monotone constraint does not hold; report "
            "it to the optimizer team, with the staging prefix of the run"
        )
    return booster


def fit_click_model(
    train: pd.DataFrame, *, categories: Categories, weights: np.ndarray, boosting: Boosting, rounds: int = 60
) -> lgb.Booster:
    """Return a model of P(click | win, features), learned from views whose clicks have arrived."""
    views, clicks = train["click_views"].to_numpy(float) * weights, train["clicks"].to_numpy(float) * weights
    parameters = {"learning_rate": 0.05, "num_leaves": 7, "min_sum_hessian_in_leaf": 0.5}
    design = categories.encode(train)
    rows = pd.DataFrame({"views": views, "clicks": clicks}).groupby([*design.T], sort=True).sum()
    codes = np.column_stack([rows.index.get_level_values(number) for number in range(design.shape[1])])
    return _fit(
        _Rows(codes, successes=rows["clicks"].to_numpy(), failures=(rows["views"] - rows["clicks"]).to_numpy()),
        names=list(categories.values),
        boosting=boosting,
        parameters={**parameters, **boosting.parameters},
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


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a design matrix with the weight of their successes and of their failures."""

    design: np.ndarray
    successes: np.ndarray
    failures: np.ndarray

    @property
    def doubled(self) -> dict[str, Any]:
        """What `lgb.Dataset` takes: two rows for each, one that succeeded and one that failed."""
        return {
            "data": np.concatenate([self.design, self.design]),
            "label": np.repeat([1.0, 0.0], len(self.design)),
            "weight": _checked(np.concatenate([self.successes, self.failures])),
        }


def _win_rows(cells: pd.DataFrame, categories: Categories, weights: np.ndarray) -> _Rows:
    """The cells of all days together: the model knows no day, and fewer rows train faster."""
    design = categories.encode(cells)
    bids = cells["bids"].to_numpy(float) * weights
    sums = pd.DataFrame({"bids": bids, "wins": cells["wins"] * weights, "log_bid": cells["log_bid"] * bids})
    bucket = np.round(cells["log_bid"].to_numpy(float) / PRICE_BUCKET_WIDTH)
    rows = sums.groupby([*design.T, bucket], sort=True).sum()
    codes = np.column_stack([rows.index.get_level_values(number) for number in range(design.shape[1])])
    return _Rows(
        np.column_stack([codes, rows["log_bid"] / rows["bids"]]),
        successes=rows["wins"].to_numpy(),
        failures=(rows["bids"] - rows["wins"]).to_numpy(),
    )


def _fit(
    rows: _Rows,
    *,
    names: list[str],
    boosting: Boosting,
    parameters: Mapping[str, object],
    rounds: int,
    later: _Rows | None = None,
) -> lgb.Booster:
    categorical = [name for name in names if name != "log_bid"]
    own = {**_PARAMETERS, **parameters, "seed": boosting.seed, "num_threads": boosting.threads}
    if boosting.scheduler is not None:
        # Only a cluster's training needs Dask, which is an extra.
        from optimizer.training.cluster import train_on_cluster

        doubled = rows.doubled
        return train_on_cluster(
            boosting.scheduler,
            lgb.Dataset(**doubled, feature_name=names, categorical_feature=categorical, params=own),
            rows=doubled,
            parameters=own,
            rounds=rounds,
            later=None if later is None else later.doubled,
            patience=EARLY_STOPPING_ROUNDS,
        )
    data = lgb.Dataset(**rows.doubled, feature_name=names, categorical_feature=categorical, free_raw_data=False)
    return lgb.train(
        own,
        data,
        num_boost_round=rounds,
        valid_sets=[] if later is None else [data.create_valid(**later.doubled)],
        callbacks=[] if later is None else [lgb.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)],
    )


def _checked(weights: np.ndarray) -> np.ndarray:
    """LightGBM trains without a word on weights that are negative or not finite; we do not."""
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise DataError(
            "the training weights are not all finite, non-negative and somewhere positive; check the bid counts and "
            "timestamps of BIDS"
        )
    return weights
