"""The win-rate part on any auction log: who predicts later auctions best, and whose curve is right away from the bids.

An accelerated failure-time model with log-logistic errors on won or lost (current status) is P(win) = sigmoid(a'x +
c log bid): the logit on features and log bid. So it has no line of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import log_loss

from lab.evaluation.auction_csv import AuctionLog, read_auction_log
from lab.evaluation.baselines import BoostedCurve, IsotonicCurve, OneHotLogit, WinModel
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.calibration import expected_calibration_error, weighted_auc
from optimizer.core.landscape.cells import MISSING, PRICE_BUCKET_WIDTH, block_hours, group_cells, prepare_cells
from optimizer.core.landscape.curves import Landscape, Link
from optimizer.core.landscape.features import remove_price, signal_score
from optimizer.core.landscape.hidden_floors import find_floors_by
from optimizer.core.landscape.jitter import learn_variation
from optimizer.core.records.window_totals import ViewCounts
from optimizer.core.serving.keys import segment_key
from optimizer.errors import DataError
from optimizer.runs.cell_run import choose_key, training_cells, training_job
from optimizer.runs.learned import Learned
from optimizer.runs.pricing import price_run
from optimizer.training.fitting import FittedModels, fit

TEST_SHARE = 0.3
"""Of the days, the latest, or of the rows where all are of one day."""

CURVE_SHARES = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)
"""Where curves are judged: at these multiples of every logged bid."""

TARGET_WIN_RATE = 0.30
"""The target of the optimizer's bids if market prices show what they would have won."""

MIN_GROUP_ROWS = 100
"""Anchor values with fewer test rows are judged together."""

MOST_STEP, MOST_BID_CPM = 1.0, 1000.0
"""Neither the daily step nor a cap bounds the bids that are judged: a run takes several days to get as far."""

_LEAST_PROBABILITY = 1e-4


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """One method on the test rows.

    auc, log_loss, ece: at the logged bids; predictions are kept between .0001 and .9999.
    curve: mean predicted win rate at each of CURVE_SHARES.
    landscape_error: mean |predicted win rate - share of market prices up to the bid| by anchor value over CURVE_SHARES;
        None where prices are unknown. Auctions lost for other reasons count against all methods equally.
    """

    method: str
    auc: float
    log_loss: float
    ece: float
    curve: tuple[float, ...]
    landscape_error: float | None


@dataclass(frozen=True, slots=True)
class BidOutcome:
    """What bids for TARGET_WIN_RATE would have won on the test rows, and paid where the winner pays its bid.

    name: whose bids; held_share: of the test rows, whose bid stays what it was as the log does not identify a slope.
    flat_cpm: the one bid for all that wins as many.
    """

    name: str
    win_rate: float
    cpm: float
    flat_cpm: float
    held_share: float


@dataclass(frozen=True, slots=True)
class LogJudgement:
    """What the log says of the methods.

    features, anchor, segment_features: names in the file; the last are those that the optimizer's segments are made of.
    market: share of market prices up to each of CURVE_SHARES times the bid; None where `obstacle` says why not.
    outcomes: of the optimizer's bids, and of what it would bid if it trusted a slope that is not identified; empty
        where market prices are unknown.
    """

    name: str
    train_rows: int
    test_rows: int
    test_from: pd.Timestamp
    features: tuple[str, ...]
    anchor: str
    segment_features: tuple[str, ...]
    methods: tuple[MethodFigures, ...]
    market: tuple[float, ...] | None
    obstacle: str | None
    outcomes: tuple[BidOutcome, ...] = ()

    @property
    def best(self) -> MethodFigures:
        """The method with the least landscape error or, where that is unknown, the least log loss."""
        if self.market is None:
            return min(self.methods, key=lambda figures: figures.log_loss)
        return min(self.methods, key=lambda figures: figures.landscape_error)

    @property
    def verdict(self) -> str:
        """One sentence: which method has the best curve."""
        if self.market is None:
            return (
                f"Which method has the best curve cannot be said, because {self.obstacle}; "
                f"at the bids as they were, {self.best.method} predicts best (log loss {self.best.log_loss:.4f})."
            )
        second = min((m for m in self.methods if m is not self.best), key=lambda figures: figures.landscape_error)
        return (
            f"The best curve: {self.best.method}, with a landscape error of {self.best.landscape_error:.4f}; "
            f"next comes {second.method} with {second.landscape_error:.4f}."
        )


def run_auction_log(path: Path, *, console: Console) -> None:
    """Print how each method does on the log of a CSV file.

    Raises:
        ConfigError: the file does not exist, or a column is missing.
        DataError: the log cannot be learned from.
    """
    print_judgement(judge_auction_log(read_auction_log(path)), console=console)


def judge_auction_log(log: AuctionLog) -> LogJudgement:
    """Return how each method that learned from the first days does on the last ones.

    Raises:
        DataError: the log cannot be learned from, e.g. because it has no wins or losses.
    """
    features = tuple(log.features)
    train, test = _split(log)
    single = prepare_cells(_as_cells(train, features), features)
    cells, rows = group_cells(single, features), prepare_cells(_as_cells(test, features), features)
    anchor = _strongest_feature(cells, features)
    optimizer = OptimizerCurve.fit(cells, features, anchor=anchor)
    models: dict[str, WinModel] = {
        "isotonic on bid": IsotonicCurve.fit(cells),
        "logit, one-hot": OneHotLogit.fit(cells, features),
        "LightGBM, monotone": BoostedCurve.fit(cells, features),
        "optimizer": optimizer,
    }
    obstacle = _find_obstacle(test)
    market = None if obstacle else test["market_cpm"].to_numpy() / test["bid_cpm"].to_numpy()
    groups = _group_rows(rows[anchor])
    return LogJudgement(
        name=log.name,
        train_rows=len(train),
        test_rows=len(test),
        test_from=test["time"].iloc[0],
        features=tuple(log.features.values()),
        anchor=log.features[anchor],
        segment_features=tuple(log.features[feature] for feature in optimizer.features),
        methods=tuple(_judge(name, model, rows, market, groups) for name, model in models.items()),
        market=None if market is None else tuple(float((market <= share).mean()) for share in CURVE_SHARES),
        obstacle=obstacle,
        outcomes=() if obstacle else _bid_for_target(optimizer, rows, test["market_cpm"].to_numpy()),
    )


@dataclass(frozen=True, slots=True)
class OptimizerCurve:
    """What a run of the optimizer would learn: a level and a slope for each segment, their anchor's mean where unseen.

    features: of the segments, the anchor first.
    """

    features: tuple[str, ...]
    fitted: FittedModels = field(repr=False)

    @classmethod
    def fit(cls, cells: pd.DataFrame, candidates: Sequence[str], *, anchor: str) -> "OptimizerCurve":
        settings = RunSettings(anchor_feature=anchor)
        cells, _ = learn_variation(cells, candidates)
        features = choose_key(
            cells, candidates=candidates, settings=settings, floors=find_floors_by(cells, anchor)
        ).features
        views = ViewCounts(joined_views=int(cells["wins"].sum()), joined_clicks=0, orphan_views=0, orphan_clicks=0)
        job = training_job(features, settings=settings, views=views, seed=1, threads=1)
        return cls(features, fit(job, training_cells(cells, features)))

    def win_rate(self, rows: pd.DataFrame, bid_cpm: np.ndarray) -> np.ndarray:
        """Return P(win) of the rows at these final bids.

        Its curves are of base bids, over the multipliers that the segment's requests have, and of final bids where the
        log shows no random variation of base bids.
        """
        report, curves = self.fitted.report, self._curves(rows)
        landscape = Landscape(report.reference_cpm, Link(tails=report.tails))
        log_multiplier = (rows["log_bid"] - rows["log_base"]).fillna(0.0).to_numpy()
        price_cpm = bid_cpm if report.is_slope_naive else bid_cpm / np.exp(log_multiplier)
        return landscape.win_rate(curves["level"].to_numpy(), curves["slope"].to_numpy(), price_cpm)

    def bids(self, rows: pd.DataFrame, *, target_win_rate: float, is_slope_trusted: bool) -> pd.DataFrame:
        """Return `bid_cpm` of each row, NaN where the optimizer does not bid, and whether it `is_held`.

        After as many daily steps as it takes. A row of a segment that the log does not have gets the fallback bid.
        """
        report, segments = self.fitted.report, self.fitted.segments
        if is_slope_trusted:
            report = report.model_copy(update={"is_slope_naive": False})
            segments = segments.assign(is_slope_identified=True)
        learned = Learned(segments, report, self.features, None, None, 0)
        settings = RunSettings(
            anchor_feature=self.features[0],
            target_win_rate=target_win_rate,
            daily_step_limit=MOST_STEP,
            max_bid_cpm=MOST_BID_CPM,
        )
        priced = price_run(learned, settings=settings, active=None, run_id="auction log")
        values = rows[list(self.features)].astype(str).to_numpy(object)
        keys = [segment_key([None if value == MISSING else value for value in row]) for row in values]
        table = priced.bids.set_index("segment_key")
        bid = pd.Series(keys).map(table["suggested_bid_cpm"])
        unknown = ~pd.Series(keys).isin(table.index)
        is_held = pd.Series(keys).map(table["is_held"].astype(float)).fillna(0.0)
        return pd.DataFrame({"bid_cpm": bid.mask(unknown, priced.figures.fallback_bid_cpm), "is_held": is_held > 0})

    def _curves(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Level and slope of each row."""
        features, curve = list(self.features), ["level", "slope"]
        segments = self.fitted.segments.fillna(dict.fromkeys(features, MISSING)).astype(dict.fromkeys(features, str))
        weights = segments["effective_bids"]
        weighed, anchor = segments[curve].mul(weights, axis=0), segments[features[0]]
        parents = weighed.groupby(anchor).sum().div(weights.groupby(anchor).sum(), axis=0)
        values = rows[features].astype(str)
        own = values.merge(segments[[*features, *curve]], how="left", on=features)[curve]
        parent = parents.reindex(values[features[0]]).reset_index(drop=True)
        return own.fillna(parent).fillna(weighed.sum() / weights.sum())


def print_judgement(judgement: LogJudgement, *, console: Console) -> None:
    """Print the figures, the curves where they can be judged, and the verdict."""
    console.print(
        f"{judgement.name}: learned from {judgement.train_rows:,} auctions, judged on the {judgement.test_rows:,} from "
        f"{judgement.test_from:%Y-%m-%d %H:%M} on",
        f"features: {', '.join(judgement.features)}",
        f"segments of the optimizer: {', '.join(judgement.segment_features)}",
        sep="\n",
        markup=False,
        highlight=False,
    )
    console.print(_figures_table(judgement))
    console.print("An AFT with log-logistic errors on won or lost is the logit in log bid: see there.", highlight=False)
    if judgement.market is not None:
        console.print(_curves_table(judgement))
        console.print(_outcomes_table(judgement))
    console.print(judgement.verdict, markup=False, highlight=False)


def _figures_table(judgement: LogJudgement) -> Table:
    table = Table("method", title="On later auctions", title_justify="left")
    for column in ("AUC", "log loss", "ECE", "landscape error"):
        table.add_column(column, justify="right")
    for figures in judgement.methods:
        error = "-" if figures.landscape_error is None else f"{figures.landscape_error:.4f}"
        table.add_row(figures.method, f"{figures.auc:.4f}", f"{figures.log_loss:.4f}", f"{figures.ece:.4f}", error)
    return table


def _curves_table(judgement: LogJudgement) -> Table:
    table = Table(title="Win rate at multiples of the bids made", title_justify="left")
    columns = {"market": judgement.market} | {figures.method: figures.curve for figures in judgement.methods}
    for column in ("times the bid", *columns):
        table.add_column(column, justify="right")
    for share, *won in zip(CURVE_SHARES, *columns.values(), strict=True):
        table.add_row(f"{share:g}", *(f"{rate:.3f}" for rate in won))
    return table


def _outcomes_table(judgement: LogJudgement) -> Table:
    title = f"Bids for a win rate of {TARGET_WIN_RATE:g}, at first price"
    table = Table("bids", title=title, title_justify="left")
    for column in ("win rate", "CPM", "one flat bid that wins as many", "held"):
        table.add_column(column, justify="right")
    for made in judgement.outcomes:
        held = f"{made.held_share:.0%}"
        table.add_row(made.name, f"{made.win_rate:.3f}", f"{made.cpm:.2f}", f"{made.flat_cpm:.2f}", held)
    return table


def _split(log: AuctionLog) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first and the last rows, each with its `day`, and with the `block` of time that training goes by."""
    rows = log.rows.assign(day=log.rows["time"].dt.floor("D"))
    days = rows["day"].unique()
    if len(days) > 1:
        is_test = (rows["day"] >= days[-max(1, round(TEST_SHARE * len(days)))]).to_numpy()
    else:
        is_test = np.arange(len(rows)) >= (1 - TEST_SHARE) * len(rows)
    train, test = rows[~is_test], rows[is_test].reset_index(drop=True)
    for name, part in {"first": train, "last": test}.items():
        if not 0 < (wins := int(part["won"].sum())) < len(part):
            raise DataError(
                f"{log.name}: the {name} days have {wins} wins in {len(part)} auctions; both wins and losses are "
                "needed: write a longer log, losses included"
            )
    return train.assign(block=_blocks(train)), test.assign(block=test["day"])


def _blocks(rows: pd.DataFrame) -> pd.Series:
    """When the block of each row began, as a run divides its window; dates alone have their rows spread over a day."""
    hours = block_hours(rows["time"].iloc[0], rows["time"].iloc[-1])
    if hours is None:
        return rows["day"]
    time = rows["time"]
    if (time == rows["day"]).all():
        day = rows.groupby("day")["time"]
        time = time + pd.to_timedelta(24 * day.cumcount() / day.transform("size"), unit="h")
    return time.dt.floor(f"{hours}h")


def _as_cells(rows: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """One cell an auction; what was earned is unknown."""
    prices = {"price_bucket": rows["bid_cpm"], "base_price_bucket": rows["base_bid_cpm"]}
    return rows[["day", "block", *features]].assign(
        **{column: np.round(np.log(price) / PRICE_BUCKET_WIDTH) for column, price in prices.items()},
        bids=1,
        wins=rows["won"].astype(int),
        clicks=0,
        bid_cpm_sum=rows["bid_cpm"],
        base_bid_cpm_sum=rows["base_bid_cpm"],
        cost_cpm_sum=0.0,
        view_revenue=0.0,
        click_revenue=0.0,
        floor_cpm_max=np.nan,
    )


def _strongest_feature(cells: pd.DataFrame, features: Sequence[str]) -> str:
    priced = remove_price(cells)
    return max(features, key=lambda feature: signal_score(priced, feature))


def _find_obstacle(test: pd.DataFrame) -> str | None:
    """Why the curves cannot be judged; None where the market price of every auction is known."""
    known = test["market_cpm"].notna()
    if not known.any():
        return "the log has no market prices"
    if not known.all():
        return f"the market price is known for {known.mean():.0%} of the auctions only, and curves need that of losses"
    lost = test[~test["won"]]
    if (below := (lost["market_cpm"] <= lost["bid_cpm"]).mean()) > 0.5:
        return f"{below:.0%} of the losses have a market price up to the bid, so it is not the best rival's"
    return None


def _bid_for_target(optimizer: OptimizerCurve, rows: pd.DataFrame, market_cpm: np.ndarray) -> tuple[BidOutcome, ...]:
    """What the optimizer's bids win and pay, and those with the slope trusted where the log does not identify it."""
    report = optimizer.fitted.report
    names = {"optimizer": False}
    if report.is_slope_naive and not report.is_held:
        names["optimizer, if the slope of all bids were right"] = True
    found = []
    for name, is_slope_trusted in names.items():
        bids = optimizer.bids(rows, target_win_rate=TARGET_WIN_RATE, is_slope_trusted=is_slope_trusted)
        bid_cpm = bids["bid_cpm"].fillna(0.0).to_numpy()
        won = market_cpm <= bid_cpm
        flat_cpm = float(np.quantile(market_cpm, won.mean(), method="inverted_cdf"))
        cpm = float(bid_cpm[won].mean()) if won.any() else 0.0
        found.append(BidOutcome(name, float(won.mean()), cpm, flat_cpm, float(bids["is_held"].mean())))
    return tuple(found)


def _group_rows(anchor: pd.Series) -> np.ndarray:
    """The group of each row in which curves are judged: its anchor value, the rare ones together."""
    texts = anchor.astype(str)
    rows = texts.map(texts.value_counts())
    return pd.factorize(texts.where(rows >= MIN_GROUP_ROWS))[0] + 1


def _judge(
    name: str, model: WinModel, rows: pd.DataFrame, market: np.ndarray | None, groups: np.ndarray
) -> MethodFigures:
    """The method's figures; `market` is the market price over the bid, shape (n_rows,)."""
    bid_cpm, won = rows["bid_cpm_sum"].to_numpy(float), rows["wins"].to_numpy(float)
    predicted = np.clip(model.win_rate(rows, bid_cpm), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    expected = [model.win_rate(rows, share * bid_cpm) for share in CURVE_SHARES]
    counts = {"successes": won, "trials": np.ones(len(won))}
    return MethodFigures(
        method=name,
        auc=weighted_auc(predicted, **counts),
        log_loss=float(log_loss(won, predicted)),
        ece=expected_calibration_error(predicted, **counts),
        curve=tuple(float(at_share.mean()) for at_share in expected),
        landscape_error=None if market is None else _landscape_error(expected, market, groups),
    )


def _landscape_error(expected: Sequence[np.ndarray], market: np.ndarray, groups: np.ndarray) -> float:
    """Mean over CURVE_SHARES of |predicted - true win rate| by group, weighted by rows."""
    errors = [
        np.abs(np.bincount(groups, at_share - (market <= share))).sum() / len(groups)
        for share, at_share in zip(CURVE_SHARES, expected, strict=True)
    ]
    return float(np.mean(errors))
