"""The click model, and whether it may replace the segments' shrunk rates."""

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd

from optimizer.core.landscape.calibration import auc_standard_error, weighted_auc
from optimizer.core.landscape.click_rate import estimate_click_rates
from optimizer.core.landscape.feature_signal import ONE_SIDED_95
from optimizer.training.boosting import Boosting, Categories, click_rates, fit_click_model


@dataclass(frozen=True, slots=True)
class ClickModel:
    """A model of P(click | view, features), None where there are no clicks to learn from, and its figures."""

    booster: lgb.Booster | None
    auc: float | None = None
    auc_error: float | None = None
    gain_lower: float | None = None

    @property
    def is_used(self) -> bool:
        """Whether its gain on later days is certain; else segments keep their shrunk rates."""
        return self.gain_lower is not None and self.gain_lower > 0


def fit_clicks(
    train: pd.DataFrame, later: pd.DataFrame, *, categories: Categories, seed: int, threads: int
) -> ClickModel:
    """Return the click model of the train days, judged on the later ones."""
    if train["clicks"].sum() < 1 or later["clicks"].sum() < 1:
        return ClickModel(None)
    weights = np.ones(len(train))
    booster = fit_click_model(train, categories=categories, weights=weights, boosting=Boosting(seed, threads))
    views, hits = later["click_views"].to_numpy(float), later["clicks"].to_numpy(float)
    modelled = click_rates(booster, later, categories=categories)
    auc = weighted_auc(modelled, successes=hits, trials=views)
    return ClickModel(
        booster,
        auc=auc,
        auc_error=auc_standard_error(auc, successes=hits.sum(), failures=(views - hits).sum()),
        gain_lower=_gain_lower(later, modelled, _shrunk_rates(train, later, features=list(categories.values))),
    )


def _shrunk_rates(train: pd.DataFrame, later: pd.DataFrame, *, features: Sequence[str]) -> np.ndarray:
    known = train.groupby(list(features), observed=True)[["click_views", "clicks"]].sum().reset_index()
    mean = known["clicks"].sum() / known["click_views"].sum()
    known["rate"] = estimate_click_rates(known, features, global_rate=mean)
    return later[features].merge(known, on=features, how="left")["rate"].fillna(mean).to_numpy(float)


def _gain_lower(later: pd.DataFrame, modelled: np.ndarray, shrunk: np.ndarray) -> float:
    """Lower 95 % bound of the log-likelihood gain a block of time of the model over the shrunk rates."""
    views, hits = later["click_views"].to_numpy(float), later["clicks"].to_numpy(float)
    new, old = np.clip(modelled, 1e-7, 1 - 1e-7), np.clip(shrunk, 1e-7, 1 - 1e-7)
    gain = hits * np.log(new / old) + (views - hits) * np.log((1 - new) / (1 - old))
    daily = pd.Series(gain).groupby(later["block"].to_numpy()).sum()
    return float(daily.mean() - ONE_SIDED_95 * daily.std(ddof=1) / np.sqrt(len(daily)))
