"""The training job: fit on early days, calibrate on later ones, judge on the latest, then refit for use."""

from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from optimizer.core.calibration import calibration_bins, calibration_error, group_bias, weighted_auc
from optimizer.core.cells import TimeSplit, prepare_cells, recency_weights, split_by_time, unmask
from optimizer.core.click_rate import estimate_click_rates
from optimizer.core.second_price import add_shadow_bids
from optimizer.core.slope import PriceMoves, centre_bids, find_slope, price_moves, randomised_rows
from optimizer.core.win_rate import (
    LATEST_DAYS,
    LandscapeFit,
    SegmentLevels,
    common_shift,
    fit_landscape,
    segment_levels,
)
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

UNRIVALLED_SHARES = (0.0, 0.02, 0.04, 0.06, 0.08, 0.10, 0.12)
LIKELIHOOD_GAIN = 2.0
"""A larger share of auctions without a rival has to be clearly likelier: by this much in log-likelihood."""


@dataclass(frozen=True, slots=True)
class _Context:
    """What is learned from: the cells as they were bid, and what they say about winning (the same in first price)."""

    job: TrainingJob
    cells: pd.DataFrame
    priced: pd.DataFrame
    segments: pd.DataFrame
    split: TimeSplit
    categories: Categories
    reference_cpm: float
    is_randomised: bool


@dataclass(frozen=True, slots=True)
class _Curve:
    """A landscape on a booster's scores.

    usual: one row a segment, see `_usual_prices`; scores: shape (n_segments,), the booster's logit at the usual bid.
    is_randomised: whether prices are base bids that jitter moved, and not whatever was bid.
    """

    fit: LandscapeFit
    usual: pd.DataFrame
    scores: np.ndarray
    is_randomised: bool

    def moves(self, cells: pd.DataFrame) -> PriceMoves:
        prices = self.usual["price"].to_numpy()
        return price_moves(cells, cells["segment"].to_numpy(), is_randomised=self.is_randomised, usual=prices)

    def win_logit(self, cells: pd.DataFrame) -> np.ndarray:
        return self.fit.win_logit(self.scores[cells["segment"]], self.moves(cells), cells["anchor"].to_numpy())


@dataclass(frozen=True, slots=True)
class _WinRate:
    booster: lgb.Booster
    curve: _Curve
    levels: SegmentLevels
    metrics: dict[str, float | None]
    calibration: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class FittedModels:
    """What a training job leaves: one row a segment, the report and the models in LightGBM's text format."""

    segments: pd.DataFrame
    report: TrainingReport
    win_model: str
    click_model: str | None


def fit_models(folder: Path) -> None:
    """Fit the models of the folder's job and write models, segments and report beside it.

    Raises:
        DataError: the cells cannot be learned from.
    """
    job = TrainingJob.model_validate_json((folder / JOB_FILE).read_text())
    fitted = fit(job, pd.read_parquet(folder / CELLS_FILE))
    (folder / WIN_MODEL_FILE).write_text(fitted.win_model)
    if fitted.click_model is not None:
        (folder / CLICK_MODEL_FILE).write_text(fitted.click_model)
    fitted.segments.to_parquet(folder / SEGMENTS_FILE, index=False)
    (folder / REPORT_FILE).write_text(fitted.report.model_dump_json())


def fit(job: TrainingJob, cells: pd.DataFrame) -> FittedModels:
    """Return what the cells teach, `optimizer.core.cells` by the job's features.

    Raises:
        DataError: the cells cannot be learned from.
    """
    context = _open_context(job, prepare_cells(cells, job.features))
    win_rate, clicks = _fit_win_rate(context), _fit_clicks(context)
    return FittedModels(
        segments=_segments(context, win_rate, clicks),
        report=_report(context, win_rate, clicks),
        win_model=win_rate.booster.model_to_string(),
        click_model=None if clicks.booster is None else clicks.booster.model_to_string(),
    )


def _open_context(job: TrainingJob, cells: pd.DataFrame) -> _Context:
    cells = centre_bids(cells, job.features)
    cells["segment"] = cells.groupby(list(job.features), observed=True, sort=True).ngroup()
    cells["anchor"] = cells.groupby(job.features[0], observed=True, sort=True).ngroup()
    priced = add_shadow_bids(cells) if job.is_second_price else cells
    rows = randomised_rows(priced)
    slope = find_slope(rows, rows["segment"].to_numpy())
    return _Context(
        job=job,
        cells=cells,
        priced=priced,
        segments=cells.groupby("segment", sort=True)[list(job.features)].first().reset_index(),
        split=split_by_time(cells),
        categories=Categories.of(cells, job.features),
        reference_cpm=float(np.exp(_weighted_quantile(cells["log_bid"], cells["bids"], 0.5))),
        is_randomised=slope is not None and slope.is_identified,
    )


def _fit_win_rate(context: _Context) -> _WinRate:
    train, calibrate, test = context.split.slices(context.priced)
    judged = _fit_boosted(context, train, later=calibrate)
    judged_curve = _fit_curve(context, judged, calibrate)
    predicted = judged_curve.fit.win_rate(judged_curve.win_logit(test))
    wins, bids = test["wins"].to_numpy(float), test["bids"].to_numpy(float)
    metrics = {
        "wr_model_auc": weighted_auc(predicted, successes=wins, trials=bids),
        **_calibration(judged_curve, predicted, test),
        "wr_model_logloss": log_loss(
            np.repeat([1, 0], len(test)),
            np.concatenate([predicted, predicted]),
            sample_weight=np.concatenate([wins, bids - wins]),
        ),
        "wr_model_rounds": max(1, judged.best_iteration),
    }
    booster = _fit_boosted(context, pd.concat([train, calibrate]), rounds=metrics["wr_model_rounds"])
    metrics["largest_fall"] = largest_fall(booster, context.cells, categories=context.categories)
    curve, levels = _fit_best_curve(context, booster, pd.concat([calibrate, test]))
    bins = calibration_bins(predicted, successes=wins, trials=bids)
    return _WinRate(booster, curve, levels, metrics, bins.to_dict("records"))


def _calibration(curve: _Curve, predicted: np.ndarray, test: pd.DataFrame) -> dict[str, float | None]:
    """How well predictions agree with the test days: over bins, over anchor values and, with jitter, over its reach."""
    counts = {"successes": test["wins"].to_numpy(float), "trials": test["bids"].to_numpy(float)}
    error = calibration_error(predicted, **counts, day=test["day"].to_numpy())
    found = {
        "wr_model_ece": error.value,
        "wr_model_ece_low": error.low,
        "wr_model_ece_high": error.high,
        "wr_model_ece_noise": error.noise,
        "wr_model_anchor_bias": group_bias(predicted, **counts, group=test["anchor"].to_numpy()),
        "wr_model_lce": None,
    }
    is_varied = test["log_planned"].notna().to_numpy()
    if curve.is_randomised and is_varied.any():
        varied = {name: values[is_varied] for name, values in counts.items()}
        day, by = test["day"].to_numpy()[is_varied], curve.moves(test).move[is_varied]
        found["wr_model_lce"] = calibration_error(predicted[is_varied], **varied, day=day, by=by).value
    return found


def _fit_best_curve(context: _Context, booster: lgb.Booster, cells: pd.DataFrame) -> tuple[_Curve, SegmentLevels]:
    """The curve with the share of auctions without a rival under which the whole log is likeliest.

    Only bids far apart on one segment tell it; while the log holds none, no share is clearly likelier than 0. The
    largest of all is no answer: then plans followed the rivals closely, which makes every curve look too steep.
    """
    best = logistic = None
    for share in UNRIVALLED_SHARES:
        try:
            curve = _fit_curve(context, booster, cells, unrivalled_share=share)
        except DataError:
            if best is None:
                raise
            break  # more than the log bears: somewhere less is won than the share
        levels = _own_levels(context, curve)
        if best is not None and levels.log_likelihood < best[1].log_likelihood + LIKELIHOOD_GAIN:
            break
        best = curve, levels
        logistic = logistic or best
    curve, levels = logistic if best[0].fit.unrivalled_share == UNRIVALLED_SHARES[-1] else best
    return _settle_intercept(context, curve, levels), levels


def _settle_intercept(context: _Context, curve: _Curve, levels: SegmentLevels) -> _Curve:
    """The curve whose segments, each with its own shift, win on the latest days as many as they did.

    A whole week, so that no weekday counts more than another.
    """
    priced = context.priced
    latest = priced[priced["day"] > priced["day"].max() - pd.Timedelta(days=LATEST_DAYS)]
    z = curve.win_logit(latest) + levels.shift[latest["segment"]]
    wins, bids = latest["wins"].to_numpy(float), latest["bids"].to_numpy(float)
    missing = common_shift(z, wins=wins, bids=bids, unrivalled_share=curve.fit.unrivalled_share)
    return replace(curve, fit=replace(curve.fit, intercept=curve.fit.intercept + missing))


def _fit_boosted(context: _Context, cells: pd.DataFrame, **options) -> lgb.Booster:
    weights = recency_weights(cells["day"], half_life_days=context.job.half_life_days)
    seed, threads = context.job.seed, context.job.threads
    return fit_win_model(cells, categories=context.categories, weights=weights, seed=seed, threads=threads, **options)


def _fit_curve(
    context: _Context, booster: lgb.Booster, cells: pd.DataFrame, *, unrivalled_share: float = 0.0
) -> _Curve:
    """The curve of these days: of the rows that jitter moved, if the log has a slope and these days such rows."""
    varied = cells[cells["log_planned"].notna()]
    is_randomised = context.is_randomised and 0 < varied["wins"].sum() < varied["bids"].sum()
    rows = varied if is_randomised else cells
    usual = _usual_prices(rows, segments=len(context.segments), is_randomised=is_randomised)
    scores = win_scores(booster, context.segments, categories=context.categories, log_bid=usual["bid"].to_numpy())
    segment = rows["segment"].to_numpy()
    prices = usual["price"].to_numpy()
    fit = fit_landscape(
        rows,
        score=scores[segment],
        moves=price_moves(rows, segment, is_randomised=is_randomised, usual=prices),
        segment=segment,
        group=rows["anchor"].to_numpy(),
        groups=int(context.cells["anchor"].max()) + 1,
        reference_cpm=context.reference_cpm,
        unrivalled_share=unrivalled_share,
    )
    return _Curve(fit, usual, scores, is_randomised)


def _usual_prices(rows: pd.DataFrame, *, segments: int, is_randomised: bool) -> pd.DataFrame:
    """One row a segment: mean logs of what was bid on these rows, and how much; the overall means where nothing was.

    bid: of final bids; base: of base bids, or final ones where there was no base; price: of what moves the curve.
    recent_bids, recent_wins: the counts behind them.
    """
    bids = rows["bids"]
    base = rows["log_base"].fillna(rows["log_bid"])
    means = pd.DataFrame({"bid": rows["log_bid"] * bids, "base": base * bids, "bids": bids, "wins": rows["wins"]})
    sums = means.groupby(rows["segment"]).sum().reindex(range(segments))
    overall = means.sum()
    usual = {name: (sums[name] / sums["bids"]).fillna(overall[name] / overall["bids"]) for name in ("bid", "base")}
    counts = {"recent_bids": sums["bids"].fillna(0.0), "recent_wins": sums["wins"].fillna(0.0)}
    return pd.DataFrame({**usual, "price": usual["base" if is_randomised else "bid"], **counts})


def _fit_clicks(context: _Context) -> ClickModel:
    train, calibrate, test = context.split.slices(context.cells)
    later, job = pd.concat([calibrate, test]), context.job
    return fit_clicks(train, later, categories=context.categories, seed=job.seed, threads=job.threads)


def _segments(context: _Context, win_rate: _WinRate, clicks: ClickModel) -> pd.DataFrame:
    """One row a segment: features, counts, win-rate curve, usual bid, floor and click rate."""
    job, cells, curve = context.job, context.cells, win_rate.curve
    fit, usual, features = curve.fit, curve.usual, list(job.features)
    counts = ["bids", "wins", "clicks", "bid_cpm_sum"]
    segments = cells.groupby(["segment", "anchor", *features], observed=True, sort=True)[counts].sum().reset_index()
    own = win_rate.levels
    segments = segments.assign(level_shift=own.shift, level_error=own.error, effective_bids=own.effective_bids)
    anchor = segments["anchor"].to_numpy()
    segments["usual_bid_cpm"] = np.exp(usual["base"].to_numpy())
    segments["recent_bids"] = usual["recent_bids"].to_numpy()
    segments["recent_wins"] = usual["recent_wins"].to_numpy()
    segments["model_level"] = fit.level(curve.scores, usual["price"].to_numpy(), anchor)
    segments["level"] = segments["model_level"] + segments["level_shift"]
    segments["slope"] = fit.group_slopes[anchor]
    segments["slope_error"] = fit.group_errors[anchor]
    segments["is_slope_identified"] = fit.is_group_identified[anchor]
    segments["floor_cpm"] = _floors(cells, cells["segment"].to_numpy(), len(segments))
    segments["click_rate"] = (
        click_rates(clicks.booster, segments, categories=context.categories)
        if clicks.is_used
        else estimate_click_rates(segments, features, global_rate=_global_click_rate(job))
    )
    for feature in features:
        segments[feature] = unmask(segments[feature])
    return segments.drop(columns=["segment", "anchor"])


def _own_levels(context: _Context, curve: _Curve) -> SegmentLevels:
    priced = context.priced
    return segment_levels(
        priced,
        group=priced["segment"].to_numpy(),
        size=len(context.segments),
        curve=curve.win_logit(priced),
        weights=recency_weights(priced["day"], half_life_days=context.job.half_life_days),
        fit=curve.fit,
    )


def _floors(cells: pd.DataFrame, group: np.ndarray, size: int) -> np.ndarray:
    """The floor that 90 % of a segment's bids with a known floor keep; NaN where none is known."""
    floors = np.full(size, np.nan)
    known = cells["floor_cpm_max"].notna().to_numpy()
    frame = pd.DataFrame({"group": group[known], "floor": cells["floor_cpm_max"][known], "bids": cells["bids"][known]})
    for segment, rows in frame.groupby("group"):
        floors[segment] = _weighted_quantile(rows["floor"], rows["bids"], 0.9)
    return floors


def _report(context: _Context, win_rate: _WinRate, clicks: ClickModel) -> TrainingReport:
    job, cells, fit = context.job, context.cells, win_rate.curve.fit
    _, calibrate, test = context.split.slices(context.priced)
    recent = pd.concat([calibrate, test])
    served = recent["log_base"].fillna(recent["log_bid"])
    hits = cells["clicks"].sum()
    return TrainingReport(
        reference_cpm=fit.reference_cpm,
        intercept=fit.intercept,
        score_weight=fit.score_weight,
        slope=fit.slope,
        slope_error=fit.slope_error,
        bid_coefficient=fit.bid_coefficient,
        bid_coefficient_error=fit.bid_coefficient_error,
        unrivalled_share=fit.unrivalled_share,
        is_slope_naive=fit.is_naive,
        is_held=fit.is_held,
        calibration=win_rate.calibration,
        **win_rate.metrics,
        ctr_model_auc=clicks.auc,
        ctr_model_auc_error=clicks.auc_error,
        ctr_model_gain_lower=clicks.gain_lower,
        ctr_model_used=clicks.is_used,
        global_click_rate=_global_click_rate(job),
        value_per_click=float(cells["click_revenue"].sum() / hits) if hits else 0.0,
        value_per_mille_views=float(1000 * cells["view_revenue"].sum() / cells["wins"].sum()),
        served_bid_low_cpm=float(np.exp(_weighted_quantile(served, recent["bids"], 0.01))),
        served_bid_high_cpm=float(np.exp(_weighted_quantile(served, recent["bids"], 0.99))),
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
