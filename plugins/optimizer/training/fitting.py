"""The training job: fit on early days, calibrate on later ones, judge on the latest, then refit for use."""

from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import log_loss

from optimizer.core.calibration import expected_calibration_error, weighted_auc
from optimizer.core.cells import TimeSplit, prepare_cells, recency_weights, split_by_time, unmask
from optimizer.core.click_rate import estimate_click_rates
from optimizer.core.slope import PriceMoves, find_slope, randomised_rows
from optimizer.core.win_rate import LandscapeFit, fit_landscape, segment_levels
from optimizer.errors import DataError
from optimizer.training.boosting import (
    Categories,
    click_rates,
    fit_win_model,
    largest_fall,
    win_scores,
)
from optimizer.training.clicks import ClickModel, fit_clicks
from optimizer.training.job import (
    CELLS_FILE,
    CLICK_MODEL_FILE,
    JOB_FILE,
    REPORT_FILE,
    SEGMENTS_FILE,
    WIN_MODEL_FILE,
    TrainingJob,
    TrainingReport,
)


@dataclass(frozen=True, slots=True)
class _Context:
    job: TrainingJob
    cells: pd.DataFrame
    split: TimeSplit
    categories: Categories
    reference_cpm: float
    is_randomised: bool


@dataclass(frozen=True, slots=True)
class _WinRate:
    booster: lgb.Booster
    fit: LandscapeFit
    usual: pd.DataFrame
    metrics: dict[str, float]


def fit_models(folder: Path) -> None:
    """Fit the models of the folder's job and write models, segments and report beside it.

    Raises:
        DataError: the cells cannot be learned from.
    """
    job = TrainingJob.model_validate_json((folder / JOB_FILE).read_text())
    cells = prepare_cells(pd.read_parquet(folder / CELLS_FILE), job.features)
    features = list(job.features)
    cells["segment"] = cells.groupby(features, observed=True, sort=True).ngroup()
    split = split_by_time(cells)
    rows = randomised_rows(cells)
    slope = find_slope(rows, rows["segment"].to_numpy())
    context = _Context(
        job=job,
        cells=cells,
        split=split,
        categories=Categories.of(cells, job.features),
        reference_cpm=float(np.exp(_weighted_quantile(cells["log_bid"], cells["bids"], 0.5))),
        is_randomised=slope is not None and slope.is_identified,
    )
    win_rate = _fit_win_rate(context)
    clicks = _fit_clicks(context)
    segments = _segments(context, win_rate, clicks)
    report = _report(context, win_rate, clicks)
    win_rate.booster.save_model(folder / WIN_MODEL_FILE)
    if clicks.booster is not None:
        clicks.booster.save_model(folder / CLICK_MODEL_FILE)
    segments.to_parquet(folder / SEGMENTS_FILE, index=False)
    (folder / REPORT_FILE).write_text(report.model_dump_json())


def _fit_win_rate(context: _Context) -> _WinRate:
    train, calibrate, test = context.split.slices(context.cells)
    judged = _fit_boosted(context, train, later=calibrate)
    judged_fit, usual = _fit_curve(context, judged, calibrate)
    predicted = expit(judged_fit.win_logit(_scores(context, judged, test, usual), _moves(context, test, usual)))
    wins, bids = test["wins"].to_numpy(float), test["bids"].to_numpy(float)
    metrics = {
        "wr_model_auc": weighted_auc(predicted, successes=wins, trials=bids),
        "wr_model_ece": expected_calibration_error(predicted, successes=wins, trials=bids),
        "wr_model_logloss": log_loss(
            np.repeat([1, 0], len(test)),
            np.concatenate([predicted, predicted]),
            sample_weight=np.concatenate([wins, bids - wins]),
        ),
        "wr_model_rounds": max(1, judged.best_iteration),
    }
    booster = _fit_boosted(context, pd.concat([train, calibrate]), rounds=metrics["wr_model_rounds"])
    metrics["largest_fall"] = largest_fall(booster, context.cells, categories=context.categories)
    fit, usual = _fit_curve(context, booster, pd.concat([calibrate, test]))
    return _WinRate(booster, fit, usual, metrics)


def _fit_boosted(context: _Context, cells: pd.DataFrame, **options) -> lgb.Booster:
    weights = recency_weights(cells["day"], half_life_days=context.job.half_life_days)
    seed, threads = context.job.seed, context.job.threads
    return fit_win_model(cells, categories=context.categories, weights=weights, seed=seed, threads=threads, **options)


def _fit_curve(context: _Context, booster: lgb.Booster, cells: pd.DataFrame) -> tuple[LandscapeFit, pd.DataFrame]:
    """The curve of these days, and the usual prices that it is measured from."""
    rows = cells[cells["log_base"].notna()] if context.is_randomised else cells
    usual = _usual_prices(context, rows)
    score, moves = _scores(context, booster, rows, usual), _moves(context, rows, usual)
    return fit_landscape(rows, score=score, moves=moves, reference_cpm=context.reference_cpm), usual


def _usual_prices(context: _Context, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean log of the final bid and of the price that moves, for every segment; the overall mean where unseen."""
    column = "log_base" if context.is_randomised else "log_bid"
    bids = rows["bids"]
    means = pd.DataFrame({"bid": rows["log_bid"] * bids, "price": rows[column] * bids, "bids": bids})
    sums = means.groupby(rows["segment"]).sum().reindex(range(int(context.cells["segment"].max()) + 1))
    overall = means.sum()
    return pd.DataFrame(
        {name: (sums[name] / sums["bids"]).fillna(overall[name] / overall["bids"]) for name in ("bid", "price")}
    )


def _moves(context: _Context, cells: pd.DataFrame, usual: pd.DataFrame) -> PriceMoves:
    usual_price = usual["price"].to_numpy()[cells["segment"]]
    log_bid = cells["log_bid"].to_numpy(float)
    price = cells["log_base"].fillna(cells["log_bid"]).to_numpy(float) if context.is_randomised else log_bid
    return PriceMoves(usual_price, price - usual_price, log_bid - price, context.is_randomised)


def _scores(context: _Context, booster: lgb.Booster, cells: pd.DataFrame, usual: pd.DataFrame) -> np.ndarray:
    """The model's logit at each segment's usual bid: where it was seen, and not at a price it never had."""
    at_usual = usual["bid"].to_numpy()[cells["segment"]]
    return win_scores(booster, cells, categories=context.categories, log_bid=at_usual)


def _fit_clicks(context: _Context) -> ClickModel:
    train, calibrate, test = context.split.slices(context.cells)
    later, job = pd.concat([calibrate, test]), context.job
    return fit_clicks(train, later, categories=context.categories, seed=job.seed, threads=job.threads)


def _segments(context: _Context, win_rate: _WinRate, clicks: ClickModel) -> pd.DataFrame:
    """One row a segment: features, counts, level of the win rate, click rate and value."""
    job, cells = context.job, context.cells
    features = list(job.features)
    counts = ["bids", "wins", "clicks", "bid_cpm_sum"]
    segments = cells.groupby(["segment", *features], observed=True, sort=True)[counts].sum().reset_index()
    group = cells["segment"].to_numpy()
    scores = _scores(context, win_rate.booster, segments, win_rate.usual)
    levels = segment_levels(
        cells,
        group=group,
        size=len(segments),
        fit=win_rate.fit,
        score=scores[group],
        moves=_moves(context, cells, win_rate.usual),
        weights=recency_weights(cells["day"], half_life_days=job.half_life_days),
    )
    segments = pd.concat([segments, levels], axis=1)
    segments["model_level"] = win_rate.fit.level(scores, win_rate.usual["price"].to_numpy())
    segments["level"] = segments["model_level"] + segments["level_shift"]
    segments["floor_cpm"] = _floors(cells, group, len(segments))
    segments["click_rate"] = (
        click_rates(clicks.booster, segments, categories=context.categories)
        if clicks.is_used
        else estimate_click_rates(segments, features, global_rate=_global_click_rate(job))
    )
    for feature in features:
        segments[feature] = unmask(segments[feature])
    return segments.drop(columns="segment")


def _floors(cells: pd.DataFrame, group: np.ndarray, size: int) -> np.ndarray:
    """The floor that 90 % of a segment's bids with a known floor keep; NaN where none is known."""
    floors = np.full(size, np.nan)
    known = cells["floor_cpm_max"].notna().to_numpy()
    frame = pd.DataFrame({"group": group[known], "floor": cells["floor_cpm_max"][known], "bids": cells["bids"][known]})
    for segment, rows in frame.groupby("group"):
        floors[segment] = _weighted_quantile(rows["floor"], rows["bids"], 0.9)
    return floors


def _report(context: _Context, win_rate: _WinRate, clicks: ClickModel) -> TrainingReport:
    job, cells, fit = context.job, context.cells, win_rate.fit
    _, calibrate, test = context.split.slices(cells)
    recent = pd.concat([calibrate, test])
    hits = cells["clicks"].sum()
    return TrainingReport(
        reference_cpm=fit.reference_cpm,
        intercept=fit.intercept,
        score_weight=fit.score_weight,
        slope=fit.slope,
        slope_error=fit.slope_error,
        multiplier_slope=fit.multiplier_slope,
        is_slope_naive=fit.is_naive,
        **win_rate.metrics,
        ctr_model_auc=clicks.auc,
        ctr_model_auc_error=clicks.auc_error,
        ctr_model_gain_lower=clicks.gain_lower,
        ctr_model_used=clicks.is_used,
        global_click_rate=_global_click_rate(job),
        value_per_click=float(cells["click_revenue"].sum() / hits) if hits else 0.0,
        value_per_mille_views=float(1000 * cells["view_revenue"].sum() / cells["wins"].sum()),
        served_bid_low_cpm=float(np.exp(_weighted_quantile(recent["log_bid"], recent["bids"], 0.01))),
        served_bid_high_cpm=float(np.exp(_weighted_quantile(recent["log_bid"], recent["bids"], 0.99))),
        train_until=_date(context.split.calibrate_from),
        calibrate_until=_date(context.split.test_from),
        test_until=_date(cells["day"].max() + pd.Timedelta(days=1)),
    )


def _global_click_rate(job: TrainingJob) -> float:
    if job.total_views < 1:
        raise DataError("the window has no views, so no win can be learned from; check the VIEWS table")
    return job.total_clicks / job.total_views


def _weighted_quantile(values: pd.Series, weights: pd.Series, share: float) -> float:
    order = np.argsort(values.to_numpy(float), kind="stable")
    mass = np.cumsum(weights.to_numpy(float)[order])
    return float(values.to_numpy(float)[order][min(np.searchsorted(mass, share * mass[-1]), len(order) - 1)])


def _date(day: pd.Timestamp) -> str:
    return day.date().isoformat()
