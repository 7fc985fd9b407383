"""The win-rate model: fitted on early days, its curve on later ones, judged on the latest, then refitted for use."""

from dataclasses import dataclass, replace
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from optimizer.core.landscape.calibration import (
    calibration_bins,
    calibration_error,
    group_bias,
    logistic_loss,
    weighted_auc,
)
from optimizer.core.landscape.cells import recency_weights
from optimizer.core.landscape.price_steps import PriceSteps, fit_price_steps
from optimizer.core.landscape.win_rate import SegmentLevels
from optimizer.errors import DataError
from optimizer.training.boosting import Boosting, fit_win_model, largest_fall
from optimizer.training.context import TrainingContext
from optimizer.training.curves import Curve, fit_best_curve, fit_curve

ONE_PRICE = 0.002
"""Cells whose final and base bids differ by less, in logs, were bid without multipliers."""

LEAST_ONE_PRICE_BIDS = 20_000


@dataclass(frozen=True, slots=True)
class WinRate:
    """The model in use with its curve and the segments' own levels; how the same fared on days it had not seen.

    calibration: bins of predicted and observed rate on the test days.
    test_cells, predicted: the cells of those days, and the win rate predicted of each.
    """

    booster: lgb.Booster
    curve: Curve
    levels: SegmentLevels
    metrics: dict[str, float | None]
    calibration: list[dict[str, float]]
    steps: PriceSteps | None
    test_cells: pd.DataFrame
    predicted: np.ndarray


def fit_win_rate(context: TrainingContext) -> WinRate:
    """Return the win-rate model of the context, judged on its test days and fitted for use on all of them.

    Raises:
        DataError: a fit does not converge, or the model falls with the bid.
    """
    train, calibrate, test = context.split.slices(context.priced)
    judged = _fit_boosted(context, train, later=calibrate)
    judged_curve = fit_curve(context, judged, calibrate)
    predicted = judged_curve.fit.win_rate(judged_curve.win_logit(test))
    wins, bids = test["wins"].to_numpy(float), test["bids"].to_numpy(float)
    metrics = {
        "wr_model_auc": weighted_auc(predicted, successes=wins, trials=bids),
        **_calibration(judged_curve, predicted, test),
        "wr_model_logloss": logistic_loss(predicted, successes=wins, trials=bids),
        "wr_model_rounds": max(1, judged.best_iteration),
    }
    booster = _fit_boosted(context, pd.concat([train, calibrate]), rounds=metrics["wr_model_rounds"])
    metrics["largest_fall"] = largest_fall(booster, context.cells, categories=context.categories)
    recent = pd.concat([calibrate, test])
    curve, levels = fit_best_curve(_with_identified_slope(context, booster, recent), booster, recent)
    steps = _price_steps(context, curve, levels)
    bins = calibration_bins(predicted, successes=wins, trials=bids)
    calibration = [{str(name): value for name, value in row.items()} for row in bins.to_dict("records")]
    return WinRate(booster, curve, levels, metrics, calibration, steps, test, predicted)


def _price_steps(context: TrainingContext, curve: Curve, levels: SegmentLevels) -> PriceSteps | None:
    """Round prices in the rivals' bids; skipped in second-price auctions, where they do not matter.

    Only cells of one price show them: those that were bid without multipliers.
    """
    if context.job.is_second_price or curve.fit.is_naive:
        return None
    priced = context.priced
    priced = priced[(priced["log_bid"] - priced["log_base"]).abs() < ONE_PRICE]
    if priced["bids"].sum() < LEAST_ONE_PRICE_BIDS:
        return None
    logit = curve.win_logit(priced) + levels.shift[priced["segment"]]
    slope = curve.fit.group_slopes[priced["anchor"]]
    return fit_price_steps(priced, logit=logit, slope=slope, win_rate=curve.fit.win_rate)


def _with_identified_slope(context: TrainingContext, booster: lgb.Booster, cells: pd.DataFrame) -> TrainingContext:
    """The context, which learns from the rows that varied at random as soon as they identify a slope.

    The model knows the segments' levels from the whole log, so some days of jitter show more beside its scores than
    alone.
    """
    if context.is_randomised or cells["log_planned"].isna().all():
        return context
    varied = replace(context, is_randomised=True)
    try:
        return context if fit_curve(varied, booster, cells).fit.is_naive else varied
    except DataError:
        return context


def _fit_boosted(context: TrainingContext, cells: pd.DataFrame, **options: Any) -> lgb.Booster:
    weights = recency_weights(cells["day"], half_life_days=context.half_life.days)
    job = context.job
    return fit_win_model(
        cells,
        categories=context.categories,
        weights=weights,
        boosting=Boosting(job.seed, job.threads, job.parameters.boosting(), job.scheduler),
        **options,
    )


def _calibration(curve: Curve, predicted: np.ndarray, test: pd.DataFrame) -> dict[str, float | None]:
    """How well predictions agree with the test days: over bins, over anchor values and, with jitter, over its reach."""
    wins, bids = test["wins"].to_numpy(float), test["bids"].to_numpy(float)
    error = calibration_error(predicted, successes=wins, trials=bids, day=test["block"].to_numpy())
    found: dict[str, float | None] = {
        "wr_model_ece": error.value,
        "wr_model_ece_low": error.low,
        "wr_model_ece_high": error.high,
        "wr_model_ece_noise": error.noise,
        "wr_model_anchor_bias": group_bias(predicted, successes=wins, trials=bids, group=test["anchor"].to_numpy()),
        "wr_model_lce": None,
    }
    is_varied = test["log_planned"].notna().to_numpy()
    if curve.is_randomised and is_varied.any():
        day, by = test["block"].to_numpy()[is_varied], curve.moves(test).move[is_varied]
        found["wr_model_lce"] = calibration_error(
            predicted[is_varied], successes=wins[is_varied], trials=bids[is_varied], day=day, by=by
        ).value
    return found
