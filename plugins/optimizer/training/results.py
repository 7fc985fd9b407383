"""What a training job leaves for pricing: one row a segment, and the report."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.frames import groups_of
from optimizer.core.landscape.cells import unmask, weighted_quantile
from optimizer.core.landscape.click_rate import estimate_click_rates
from optimizer.core.landscape.slope import mean_by_group
from optimizer.core.landscape.win_rate import common_shift
from optimizer.core.pricing.forecast import HISTORY_DAYS, DayLevel
from optimizer.errors import DataError
from optimizer.training.boosting import click_rates
from optimizer.training.clicks import ClickModel
from optimizer.training.context import TrainingContext
from optimizer.training.held_out import judge, segment_samples
from optimizer.training.job import TrainingReport
from optimizer.training.win_rate import WinRate

RECENT_DAYS = 21
TRAFFIC_HALF_LIFE_DAYS = 14.0
"""Traffic of the next days is expected to be that of the log, faded by this half-life."""


def segment_rows(context: TrainingContext, win_rate: WinRate, clicks: ClickModel) -> pd.DataFrame:
    """One row a segment: features, counts, win-rate curve, usual bid, floor and click rate."""
    job, cells, curve = context.job, context.cells, win_rate.curve
    fit, usual, features = curve.fit, curve.usual, list(job.features)
    counts = ["bids", "wins", "clicks", "click_views", "bid_cpm_sum"]
    segments = cells.groupby(["segment", "anchor", *features], observed=True, sort=True)[counts].sum().reset_index()
    own = win_rate.levels
    segments = segments.assign(level_shift=own.shift, level_error=own.error, effective_bids=own.effective_bids)
    anchor = segments["anchor"].to_numpy()
    segments["usual_bid_cpm"] = np.exp(usual["base"].to_numpy())
    segments["recent_bid_cpm"], segments["recent_requests"] = _recent(cells, segments["usual_bid_cpm"].to_numpy())
    segments["recent_bids"] = usual["recent_bids"].to_numpy()
    segments["recent_wins"] = usual["recent_wins"].to_numpy()
    segments["model_level"] = fit.level(curve.scores, usual["price"].to_numpy(), anchor)
    segments["level"] = segments["model_level"] + segments["level_shift"]
    segments["slope"] = fit.group_slopes[anchor]
    segments["slope_error"] = fit.group_errors[anchor]
    segments["is_slope_identified"] = fit.is_group_identified[anchor]
    segments["hidden_floor_cpm"] = context.hidden_floors.fixed_cpm[anchor]
    segments["floor_cpm"] = _floors(cells, cells["segment"].to_numpy(), len(segments))
    segments["click_rate"] = (
        click_rates(clicks.booster, segments, categories=context.categories)
        if clicks.booster is not None and clicks.is_used
        else estimate_click_rates(segments, features, global_rate=_global_click_rate(context))
    )
    for feature in features:
        segments[feature] = unmask(segments[feature])
    return segments.drop(columns=["segment", "anchor", "click_views"])


def _recent(cells: pd.DataFrame, usual_bid_cpm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What was usually bid on each segment lately, CPM, and how many bids a day it may expect.

    The bid is the geometric mean of the latest days, or where they have none, of all days; segments that had no bid for
    long keep a small share of their traffic.
    """
    weights = cells["bids"].to_numpy(float)
    base = cells["log_base"].fillna(cells["log_bid"]).to_numpy(float)
    group, size = cells["segment"].to_numpy(), len(usual_bid_cpm)
    age = (cells["day"].max() - cells["day"]).dt.days.to_numpy()
    bid_cpm = usual_bid_cpm.copy()
    for days in (age.max() + 1, RECENT_DAYS):
        mass = np.where(age < days, weights, 0.0)
        known = np.bincount(group, mass, minlength=size) > 0
        bid_cpm[known] = np.exp(mean_by_group(base, group, weights=mass, size=size)[known])
    faded = weights * np.exp2(-age / TRAFFIC_HALF_LIFE_DAYS)
    total = np.exp2(-np.arange(age.max() + 1) / TRAFFIC_HALF_LIFE_DAYS).sum()
    return bid_cpm, np.bincount(group, faded, minlength=size) / total


def _floors(cells: pd.DataFrame, group: np.ndarray, size: int) -> np.ndarray:
    """The floor that 90 % of a segment's bids with a known floor keep; NaN where none is known."""
    floors = np.full(size, np.nan)
    known = cells["floor_cpm_max"].notna().to_numpy()
    frame = pd.DataFrame({"group": group[known], "floor": cells["floor_cpm_max"][known], "bids": cells["bids"][known]})
    for segment, rows in groups_of(frame, "group"):
        floors[segment] = weighted_quantile(rows["floor"], rows["bids"], 0.9)
    return floors


def training_report(context: TrainingContext, win_rate: WinRate, clicks: ClickModel) -> TrainingReport:
    """Return the figures of the fit.

    Raises:
        DataError: the window has no views.
    """
    job, cells, fit = context.job, context.cells, win_rate.curve.fit
    _, calibrate, test = context.split.slices(cells)
    recent = pd.concat([calibrate, test])
    served = recent["log_base"].fillna(recent["log_bid"])
    hits = cells["clicks"].sum()
    following = context.hidden_floors.following
    return TrainingReport(
        reference_cpm=fit.reference_cpm,
        intercept=fit.intercept,
        score_weight=fit.score_weight,
        slope=fit.slope,
        slope_error=fit.slope_error,
        bid_coefficient=fit.bid_coefficient,
        bid_coefficient_error=fit.bid_coefficient_error,
        unrivalled_share=fit.tails.floor,
        lost_share=1 - fit.tails.ceiling,
        is_slope_naive=fit.is_naive,
        is_held=fit.is_held,
        calibration=win_rate.calibration,
        held_out=segment_samples(judge(win_rate.test_cells, win_rate.predicted), job.features),
        **win_rate.metrics,
        half_life_days=context.half_life.days,
        half_life_gain=context.half_life.gain,
        half_life_gain_lower=context.half_life.gain_lower,
        ctr_model_auc=clicks.auc,
        ctr_model_auc_error=clicks.auc_error,
        ctr_model_gain_lower=clicks.gain_lower,
        ctr_model_used=clicks.is_used,
        global_click_rate=_global_click_rate(context),
        value_per_click=float(cells["click_revenue"].sum() / hits) if hits else 0.0,
        click_value_cv=click_value_cv(cells),
        value_per_mille_views=float(1000 * cells["view_revenue"].sum() / cells["wins"].sum()),
        served_bid_low_cpm=float(np.exp(weighted_quantile(served, recent["bids"], 0.01))),
        served_bid_high_cpm=float(np.exp(weighted_quantile(served, recent["bids"], 0.99))),
        train_until=_date(context.split.calibrate_from),
        calibrate_until=_date(context.split.test_from),
        price_ladder=None if win_rate.steps is None else win_rate.steps.ladder,
        price_ladder_share=0.0 if win_rate.steps is None else win_rate.steps.share,
        following_floor_share=0.0 if following is None else following.share,
        following_floor_since=None if following is None else _date(following.days[0]),
        day_levels=_day_levels(context, win_rate),
        test_until=_date(cells["day"].max() + pd.Timedelta(days=1)),
    )


def click_value_cv(cells: pd.DataFrame) -> float:
    """Return the coefficient of variation of what a click earns, from cells with clicks; 0 where it is not known.

    The mean of n clicks varies by 1/n of what one does: squared gaps between cells, weighted by clicks, show it.
    """
    clicked = cells[cells["clicks"] > 0]
    clicks, revenue = (clicked[name].to_numpy(float) for name in ("clicks", "click_revenue"))
    if len(clicked) < 2 or revenue.sum() <= 0:
        return 0.0
    mean = revenue.sum() / clicks.sum()
    variance = (clicks * (revenue / clicks - mean) ** 2).sum() / (len(clicked) - 1)
    return float(np.sqrt(variance) / mean)


def _day_levels(context: TrainingContext, win_rate: WinRate) -> list[dict[str, Any]]:
    """How far each of the latest days lay from the curve in use, logit units, in order."""
    priced, curve = context.priced, win_rate.curve
    latest = priced[priced["day"] > priced["day"].max() - pd.Timedelta(days=HISTORY_DAYS)]
    z = curve.win_logit(latest) + win_rate.levels.shift[latest["segment"]]
    found = []
    for day, rows in latest.reset_index(drop=True).groupby("day", sort=True).indices.items():
        bids, wins = (latest[name].to_numpy(float)[rows] for name in ("bids", "wins"))
        level = common_shift(z[rows], wins=wins, bids=bids, tails=curve.fit.tails)
        found.append(asdict(DayLevel(_date(pd.Timestamp(day)), float(level), float(bids.sum()))))
    return found


def _global_click_rate(context: TrainingContext) -> float:
    """The clicks a view of the window; its views count as far as the clicks of the cells' views have arrived."""
    job, cells = context.job, context.cells
    if job.total_views < 1:
        raise DataError(
            "the window has no views, so there are no wins to learn from; check that VIEWS is loaded for the window"
        )
    arrived = cells["click_views"].sum() / max(cells["wins"].sum(), 1)
    return float(job.total_clicks / (job.total_views * arrived)) if arrived > 0 else 0.0


def _date(moment: pd.Timestamp) -> str:
    """The day or, where a slice begins within it, the minute."""
    return moment.date().isoformat() if moment == moment.normalize() else moment.isoformat(timespec="minutes")
