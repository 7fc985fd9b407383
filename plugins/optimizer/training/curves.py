"""Win-rate curves on a model's scores: of some days, or of the whole log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
import pandas as pd

from optimizer.core.landscape.cells import recency_weights
from optimizer.core.landscape.drift import latest_level
from optimizer.core.landscape.logit import FULL_RANGE, Tails, weigh_evidence
from optimizer.core.landscape.slope import PriceMoves, price_moves
from optimizer.core.landscape.win_rate import (
    LATEST_DAYS,
    LandscapeData,
    LandscapeFit,
    SegmentLevels,
    common_shift,
    fit_landscape,
    segment_levels,
)
from optimizer.errors import DataError
from optimizer.training.boosting import win_scores
from optimizer.training.context import TrainingContext

UNRIVALLED_SHARES = (0.0, 0.02, 0.04, 0.06, 0.08, 0.10, 0.12)
LEAST_DRIFT_DAYS = 3
"""With fewer days a drift is looked for between blocks of hours, although those also differ by the time of day."""

COST_OF_SHARE = 100.0
"""A hundredth more of the auctions without a rival has to be likelier by this hundredth, 1 in log-likelihood."""

USUAL_LOST_SHARE, LOST_SHARE_SD = 0.03, 0.02
"""Share of auctions that no bid wins, if the log does not show it: time-outs, refused creatives, lost notices."""

OTHER_LOST_SHARES = (0.0, 0.06, 0.10, 0.15)
LEAST_CEILING_GAIN = 2.0
"""Another ceiling has to be likelier by this, log-likelihood after its prior."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A landscape on a booster's scores.

    usual: one row a segment, see `_usual_prices`; scores: shape (n_segments,), the booster's logit at the usual bid.
    is_randomised: whether prices are base bids moved by jitter, not simply the logged bids.
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


def fit_best_curve(context: TrainingContext, booster: lgb.Booster, cells: pd.DataFrame) -> tuple[Curve, SegmentLevels]:
    """The curve whose ends make the whole log likeliest, and the segments' levels on it.

    The floor, the share of auctions without a rival, shows only in bids far apart on one segment; while the log holds
    none, no share is worth its cost. The largest of all is not an answer: then plans followed the rivals closely, which
    makes every curve look too steep. The ceiling shows only in bids that nearly always win; until there are some, it
    is what auctions usually lose to other causes.
    """
    data = _curve_data(context, booster, cells)
    weights = recency_weights(context.priced["day"], half_life_days=context.half_life.days)
    tried: dict[Tails, tuple[Curve, SegmentLevels]] = {}

    def worth_of(tails: Tails) -> float | None:
        """Penalized log-likelihood; None where the log does not bear these ends."""
        if tails not in tried:
            try:
                curve = _fit_with(data, context, tails)
                tried[tails] = curve, _own_levels(context, curve, weights)
            except DataError:
                if not tried:
                    raise
                return None
        unusual = (1 - tails.ceiling - USUAL_LOST_SHARE) / LOST_SHARE_SD
        return tried[tails][1].log_likelihood - COST_OF_SHARE * tails.floor - unusual**2 / 2

    floor = _likeliest_floor(lambda share: worth_of(Tails(share, 1 - USUAL_LOST_SHARE)))
    best = Tails(floor, 1 - USUAL_LOST_SHARE)
    reached = worth_of(best)
    for lost in OTHER_LOST_SHARES:
        worth = worth_of(Tails(floor, 1 - lost))
        if worth is not None and (reached is None or worth > reached + LEAST_CEILING_GAIN):
            best, reached = Tails(floor, 1 - lost), worth
    curve, levels = tried[best]
    return _settle_intercept(context, curve, levels), levels


def _likeliest_floor(worth_of: Callable[[float], float | None]) -> float:
    worth: list[float] = []
    for share in UNRIVALLED_SHARES:
        found = worth_of(share)
        if found is None:
            break  # more than the log bears: somewhere less is won than the share
        worth.append(found)
        if len(worth) >= 3 and worth[-1] < worth[-2]:  # three make a parabola
            break
    best = 0.0 if len(worth) == len(UNRIVALLED_SHARES) == np.argmax(worth) + 1 else summit(worth)
    return best if worth_of(best) is not None else UNRIVALLED_SHARES[int(np.argmax(worth))]


def summit(worth: Sequence[float]) -> float:
    """Return the share at the top of the parabola through the best of the first shares and its neighbours.

    Between two shares that are worth the same, a few bids more or less do not move it. It lies among those tried.

    Args:
        worth: of the first of `UNRIVALLED_SHARES`, in their order.
    """
    best = int(np.argmax(worth))
    first = min(max(best - 1, 0), len(worth) - 3)
    if first < 0:
        return UNRIVALLED_SHARES[best]
    bend, rise, _ = np.polyfit(UNRIVALLED_SHARES[first : first + 3], worth[first : first + 3], 2)
    if bend >= 0:
        return UNRIVALLED_SHARES[best]
    low, high = (UNRIVALLED_SHARES[min(max(near, 0), len(worth) - 1)] for near in (best - 1, best + 1))
    return float(np.clip(-rise / (2 * bend), low, high))


def _settle_intercept(context: TrainingContext, curve: Curve, levels: SegmentLevels) -> Curve:
    """The curve whose segments, each with its own shift, win on the latest days as many as they did.

    A whole week, so that no weekday counts more than another. Where the log has no whole week, it
    is the level that the market has drifted to (`optimizer.core.landscape.drift`).
    """
    priced = context.priced
    latest = priced[priced["day"] > priced["day"].max() - pd.Timedelta(days=LATEST_DAYS)]
    z = curve.win_logit(latest) + levels.shift[latest["segment"]]
    wins, bids = latest["wins"].to_numpy(float), latest["bids"].to_numpy(float)
    tails = curve.fit.tails
    missing = common_shift(z, wins=wins, bids=bids, tails=tails)
    if (days := priced["day"].nunique()) < LATEST_DAYS:
        time = latest["day" if days >= LEAST_DRIFT_DAYS else "block"].to_numpy()
        missing += _drifted(time, z + missing, wins=wins, bids=bids, tails=tails)
    return replace(curve, fit=replace(curve.fit, intercept=curve.fit.intercept + missing))


def _drifted(time: np.ndarray, logit: np.ndarray, *, wins: np.ndarray, bids: np.ndarray, tails: Tails) -> float:
    """How far the level of these rows has moved away from their mean, logit units."""
    number = np.unique(time, return_inverse=True)[1]
    evidence = weigh_evidence(logit, wins=wins, trials=bids, tails=tails)
    score, information = np.bincount(number, evidence.score), np.bincount(number, evidence.information)
    known = information > 0
    return latest_level(score[known] / information[known], information[known] ** -0.5)[0]


def _own_levels(context: TrainingContext, curve: Curve, weights: np.ndarray) -> SegmentLevels:
    priced = context.priced
    return segment_levels(
        priced,
        group=priced["segment"].to_numpy(),
        size=len(context.segments),
        curve=curve.win_logit(priced),
        weights=weights,
        fit=curve.fit,
        variance_factor=context.job.parameters.level_variance,
    )


@dataclass(frozen=True, slots=True)
class _CurveData:
    """What a curve of some days is fitted to, whatever its ends: rows and their moves; the rest as in `Curve`."""

    rows: pd.DataFrame
    moves: PriceMoves
    usual: pd.DataFrame
    scores: np.ndarray
    is_randomised: bool


def fit_curve(context: TrainingContext, booster: lgb.Booster, cells: pd.DataFrame) -> Curve:
    """The curve of these days: of the rows that jitter moved, if the log has a slope and these days such rows."""
    return _fit_with(_curve_data(context, booster, cells), context, FULL_RANGE)


def _curve_data(context: TrainingContext, booster: lgb.Booster, cells: pd.DataFrame) -> _CurveData:
    varied = cells[cells["log_planned"].notna()]
    is_randomised = context.is_randomised and 0 < varied["wins"].sum() < varied["bids"].sum()
    rows = varied if is_randomised else cells
    # A segment that was not bid on these days, or only below a hidden floor, has the usual bid of the whole log.
    usual = _usual_prices(rows, context.cells, segments=len(context.segments), is_randomised=is_randomised)
    scores = win_scores(booster, context.segments, categories=context.categories, log_bid=usual["bid"].to_numpy())
    prices = usual["price"].to_numpy()
    moves = price_moves(rows, rows["segment"].to_numpy(), is_randomised=is_randomised, usual=prices)
    return _CurveData(rows, moves, usual, scores, is_randomised)


def _fit_with(data: _CurveData, context: TrainingContext, tails: Tails) -> Curve:
    rows, segment = data.rows, data.rows["segment"].to_numpy()
    landscape_data = LandscapeData(
        rows,
        score=data.scores[segment],
        moves=data.moves,
        segment=segment,
        group=rows["anchor"].to_numpy(),
        groups=int(context.cells["anchor"].max()) + 1,
    )
    fit = fit_landscape(landscape_data, reference_cpm=context.reference_cpm, tails=tails)
    return Curve(fit, data.usual, data.scores, data.is_randomised)


def _usual_prices(rows: pd.DataFrame, every: pd.DataFrame, *, segments: int, is_randomised: bool) -> pd.DataFrame:
    """One row a segment: mean logs of what was bid on these rows, and how much; on `every` row where nothing was.

    bid: of final bids; base: of base bids, or final ones where there was no base; price: of what moves the curve.
    recent_bids, recent_wins: the counts behind them.
    """
    sums, older = (_summed_prices(cells, segments=segments, is_randomised=is_randomised) for cells in (rows, every))
    usual = {
        name: (sums[name] / sums["bids"]).fillna(older[name] / older["bids"]) for name in ("bid", "base", "planned")
    }
    counts = {"recent_bids": sums["bids"].fillna(0.0), "recent_wins": sums["wins"].fillna(0.0)}
    return pd.DataFrame({**usual, "price": usual["planned" if is_randomised else "bid"], **counts})


def _summed_prices(rows: pd.DataFrame, *, segments: int, is_randomised: bool) -> pd.DataFrame:
    """One row a segment: sums of bids, wins and, by bids, logs of what was bid; NaN where nothing was."""
    bids = rows["bids"]
    base = rows["log_base"].fillna(rows["log_bid"])
    planned = rows["log_planned"].fillna(base) if is_randomised else base
    means = pd.DataFrame(
        {
            "bid": rows["log_bid"] * bids,
            "base": base * bids,
            "planned": planned * bids,
            "bids": bids,
            "wins": rows["wins"],
        }
    )
    return means.groupby(rows["segment"]).sum().reindex(range(segments))
