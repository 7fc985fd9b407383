"""What a team would otherwise use: simpler methods that bid from the same log.

They take every row and its final bid as they come: no jitter, no planned prices, no multipliers. A model is anything
that says P(win) of rows of features at bids; a baseline turns one into bids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression
from scipy.sparse import csr_array, hstack, vstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from lab.evaluation.suggestion import Suggestion
from lab.market.policies import BidTablePolicy
from optimizer.core.landscape.cells import MISSING, prepare_cells, split_by_time
from optimizer.core.serving.keys import segment_key
from optimizer.training.boosting import Boosting, Categories, fit_win_model, win_scores

MIN_SEGMENT_BIDS = 30
"""A segment with fewer bids gets no curve of its own."""

GRID_POINTS = 200
GRID_REACH = 10.0
"""LightGBM is asked about bids up to that many times the highest logged one."""


class WinModel(Protocol):
    """P(win) of rows at bids."""

    def win_rate(self, rows: pd.DataFrame, bid_cpm: np.ndarray) -> np.ndarray:
        """Return P(win) of each row, which has the features, at its final bid, shape (n_rows,)."""
        ...


class Baseline(Protocol):
    """A method in the optimizer's place."""

    def __call__(self, cells: pd.DataFrame, *, target_win_rate: float, features: Sequence[str]) -> Suggestion:
        """Return the method's bids for the segments of the cells by these features."""
        ...


@dataclass(frozen=True, slots=True)
class IsotonicCurve:
    """Isotonic regression of won on bid, the same for all segments: straight between logged bids, flat beyond them.

    log_bids: the distinct logs of logged bids, rising; won: P(win) at each.
    """

    log_bids: np.ndarray
    won: np.ndarray

    @classmethod
    def fit(cls, cells: pd.DataFrame) -> "IsotonicCurve":
        log_bids, at = np.unique(cells["log_bid"].to_numpy(float), return_inverse=True)
        bids, wins = (np.bincount(at, cells[column].to_numpy(float)) for column in ("bids", "wins"))
        return cls(log_bids, isotonic_regression(wins / bids, weights=bids).x)

    def win_rate(self, rows: pd.DataFrame, bid_cpm: np.ndarray) -> np.ndarray:
        return self.at(bid_cpm)

    def at(self, bid_cpm: np.ndarray) -> np.ndarray:
        """Return P(win) at the bids."""
        return np.interp(np.log(bid_cpm), self.log_bids, self.won)

    def bid_for(self, target_win_rate: float) -> float:
        """Return the smallest logged bid that reaches the target, the highest one where none does."""
        position = min(np.searchsorted(self.won, target_win_rate), len(self.won) - 1)
        return float(np.exp(self.log_bids[position]))


@dataclass(frozen=True, slots=True)
class IsotonicCurves:
    """An isotonic curve for each segment with enough bids, and the overall one for the others."""

    own: dict[int, IsotonicCurve]
    overall: IsotonicCurve

    @classmethod
    def fit(cls, cells: pd.DataFrame) -> "IsotonicCurves":
        """Return the curves of prepared cells with a column `segment`."""
        segments = cells.groupby("segment")
        known = segments["bids"].sum() >= MIN_SEGMENT_BIDS
        own = {number: IsotonicCurve.fit(rows) for number, rows in segments if known[number]}
        return cls(own, IsotonicCurve.fit(cells))

    def win_rate(self, rows: pd.DataFrame, bid_cpm: np.ndarray) -> np.ndarray:
        return np.array([self.of(number).at(bid) for number, bid in zip(rows["segment"], bid_cpm, strict=True)])

    def of(self, segment: int) -> IsotonicCurve:
        return self.own.get(segment, self.overall)


@dataclass(frozen=True, slots=True)
class OneHotLogit:
    """Logistic regression on one column a feature value and on log bid, scikit-learn's default penalty."""

    features: tuple[str, ...]
    encoder: OneHotEncoder
    regression: LogisticRegression

    @classmethod
    def fit(cls, cells: pd.DataFrame, features: Sequence[str]) -> "OneHotLogit":
        rows = _sum_over_days(cells, features)
        encoder = OneHotEncoder(handle_unknown="ignore").fit(_texts(rows, features))
        design = _design(encoder, rows, features, rows["log_bid"].to_numpy())
        regression = LogisticRegression(solver="newton-cg", max_iter=1_000).fit(
            vstack([design, design]),
            np.repeat([1, 0], len(rows)),
            sample_weight=np.concatenate([rows["wins"], rows["bids"] - rows["wins"]]),
        )
        return cls(tuple(features), encoder, regression)

    @property
    def bid_coefficient(self) -> float:
        """Logit units per unit of log bid."""
        return float(self.regression.coef_[0, -1])

    def win_rate(self, rows: pd.DataFrame, bid_cpm: np.ndarray) -> np.ndarray:
        design = _design(self.encoder, rows, self.features, np.log(bid_cpm))
        return expit(self.regression.decision_function(design))


@dataclass(frozen=True, slots=True)
class BoostedCurve:
    """The optimizer's own LightGBM, monotone in the bid, with nothing behind it."""

    categories: Categories
    scores: partial[np.ndarray]

    @classmethod
    def fit(cls, cells: pd.DataFrame, features: Sequence[str]) -> "BoostedCurve":
        """Return the model of all cells with as many rounds as serve the latest days best."""
        categories = Categories.of(cells, features)
        train, calibrate, test = split_by_time(cells).slices(cells)
        fit_rows = partial(fit_win_model, categories=categories, boosting=Boosting(seed=1, threads=1))
        earlier = pd.concat([train, calibrate])
        stopped = fit_rows(earlier, weights=np.ones(len(earlier)), later=test)
        booster = fit_rows(cells, weights=np.ones(len(cells)), rounds=max(1, stopped.best_iteration))
        return cls(categories, partial(win_scores, booster, categories=categories))

    def win_rate(self, rows: pd.DataFrame, bid_cpm: np.ndarray) -> np.ndarray:
        return expit(self.scores(rows, log_bid=np.log(bid_cpm)))


def one_global_bid(cells: pd.DataFrame, *, target_win_rate: float, features: Sequence[str]) -> Suggestion:
    """Return the smallest logged bid that reaches the target over all rows, for every segment."""
    log = _Log.of(cells, features)
    curve = IsotonicCurve.fit(log.cells)
    bids = np.full(len(log.segments), curve.bid_for(target_win_rate))
    return log.suggest("one global bid", curve, bids, target_win_rate=target_win_rate, scope="portfolio")


def isotonic_per_segment(cells: pd.DataFrame, *, target_win_rate: float, features: Sequence[str]) -> Suggestion:
    """Return for each segment the smallest of its logged bids that reaches the target by its own isotonic curve.

    Where none does, the highest one; a segment of few bids gets the one global bid.
    """
    log = _Log.of(cells, features)
    curves = IsotonicCurves.fit(log.cells)
    bids = np.array([curves.of(number).bid_for(target_win_rate) for number in log.segments["segment"]])
    return log.suggest("isotonic per segment", curves, bids, target_win_rate=target_win_rate)


def lightgbm_alone(cells: pd.DataFrame, *, target_win_rate: float, features: Sequence[str]) -> Suggestion:
    """Return for each segment the smallest bid at which LightGBM forecasts the target, far beyond the log if need be.

    Where it forecasts it nowhere, the smallest bid of the highest win rate that it forecasts.
    """
    log = _Log.of(cells, features)
    model = BoostedCurve.fit(log.cells, features)
    bids = log.invert(model, target_win_rate=target_win_rate, highest_cpm=GRID_REACH * log.highest_cpm)
    return log.suggest("LightGBM alone, inverted", model, bids, target_win_rate=target_win_rate)


def one_hot_logit(cells: pd.DataFrame, *, target_win_rate: float, features: Sequence[str]) -> Suggestion:
    """Return for each segment the bid at which the logit reaches the target, kept within the logged bids.

    Where the log makes higher bids look worse, that is the lowest logged bid.
    """
    log = _Log.of(cells, features)
    model = OneHotLogit.fit(log.cells, features)
    bids = log.invert(model, target_win_rate=target_win_rate, highest_cpm=log.highest_cpm)
    return log.suggest("logit, one-hot", model, bids, target_win_rate=target_win_rate)


BASELINES: tuple[Baseline, ...] = (one_global_bid, isotonic_per_segment, lightgbm_alone, one_hot_logit)
"""Every baseline, the simplest first; the name for tables is `Suggestion.method`."""


@dataclass(frozen=True, slots=True)
class _Log:
    """Prepared cells with the number of their `segment`, and one row a segment with its features, number and `key`."""

    cells: pd.DataFrame
    segments: pd.DataFrame
    features: tuple[str, ...]

    @classmethod
    def of(cls, cells: pd.DataFrame, features: Sequence[str]) -> "_Log":
        prepared = prepare_cells(cells, features)
        prepared["segment"] = prepared.groupby(list(features), observed=True, sort=True).ngroup()
        segments = prepared[["segment", *features]].drop_duplicates("segment").sort_values("segment")
        values = segments[list(features)].to_numpy(object)
        keys = [segment_key([None if value == MISSING else value for value in row]) for row in values]
        return cls(prepared, segments.assign(key=keys), tuple(features))

    @property
    def lowest_cpm(self) -> float:
        return float(np.exp(self.cells["log_bid"].min()))

    @property
    def highest_cpm(self) -> float:
        return float(np.exp(self.cells["log_bid"].max()))

    def invert(self, model: WinModel, *, target_win_rate: float, highest_cpm: float) -> np.ndarray:
        """Return each segment's smallest bid that reaches the target or, where none does, the most that any reaches."""
        grid = np.geomspace(self.lowest_cpm, highest_cpm, GRID_POINTS)
        size = len(self.segments)
        rows = self.segments.iloc[np.repeat(np.arange(size), len(grid))]
        won = model.win_rate(rows, np.tile(grid, size)).reshape(size, len(grid))
        wanted = np.minimum(won.max(axis=1), target_win_rate)
        return grid[(won >= wanted[:, None]).argmax(axis=1)]

    def suggest(
        self,
        method: str,
        model: WinModel,
        bid_cpm: np.ndarray,
        *,
        target_win_rate: float,
        scope: Literal["portfolio", "segment"] = "segment",
    ) -> Suggestion:
        """Return the bids, shape (n_segments,), with the model's curves; unknown keys get the one global bid."""
        by_key = self.segments.set_index("key")

        def win_rate(keys: np.ndarray, bids: np.ndarray) -> np.ndarray:
            return model.win_rate(by_key.loc[keys], bids)

        return Suggestion(
            method=method,
            scope=scope,
            table=BidTablePolicy(
                bids=dict(zip(self.segments["key"], bid_cpm.tolist(), strict=True)),
                features=self.features,
                fallback_bid_cpm=IsotonicCurve.fit(self.cells).bid_for(target_win_rate),
                spell_key=segment_key,
            ),
            win_rate=win_rate,
            lowest_cpm=self.lowest_cpm,
        )


def _sum_over_days(cells: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Fewer rows for models that know no day: counts by features and price bucket, with the mean log bid."""
    weighed = cells.assign(log_bid=cells["log_bid"] * cells["bids"])
    sums = weighed.groupby([*features, "price_bucket"], observed=True)[["bids", "wins", "log_bid"]].sum().reset_index()
    return sums.assign(log_bid=sums["log_bid"] / sums["bids"])


def _design(encoder: OneHotEncoder, rows: pd.DataFrame, features: Sequence[str], log_bid: np.ndarray) -> csr_array:
    values = csr_array(encoder.transform(_texts(rows, features)))
    return csr_array(hstack([values, csr_array(log_bid[:, None])]))


def _texts(rows: pd.DataFrame, features: Sequence[str]) -> np.ndarray:
    """The feature values as strings, shape (n_rows, n_features); each distinct one is converted once."""
    columns = [pd.factorize(rows[feature]) for feature in features]
    return np.column_stack([np.asarray(values.astype(str), dtype=object)[codes] for codes, values in columns])
