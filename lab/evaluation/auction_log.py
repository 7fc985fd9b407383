"""The win-rate part on any auction log: who predicts later auctions best, and whose curve is right away from the bids.

An accelerated failure-time model with log-logistic errors on won or lost (current status) is P(win) = sigmoid(a'x +
c log bid): the logit on features and log bid. So it has no line of its own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from sklearn.metrics import log_loss

from lab.evaluation.auction_csv import AuctionLog, read_auction_log
from lab.evaluation.baselines import BoostedCurve, IsotonicCurve, OneHotLogit
from lab.evaluation.log_judgement import CURVE_SHARES, TARGET_WIN_RATE, BidOutcome, LogJudgement, MethodFigures
from lab.evaluation.log_report import print_judgement
from lab.evaluation.optimizer_curve import OptimizerCurve
from optimizer.core.landscape.calibration import expected_calibration_error, weighted_auc
from optimizer.core.landscape.cells import PRICE_BUCKET_WIDTH, block_hours, group_cells, prepare_cells
from optimizer.core.landscape.feature_signal import remove_price, signal_score
from optimizer.errors import DataError

TEST_SHARE = 0.3
"""Of the days, the latest, or of the rows where all are of one day."""

MIN_GROUP_ROWS = 100
"""Anchor values with fewer test rows are judged together."""

_LEAST_PROBABILITY = 1e-4

WinLaw = Callable[[np.ndarray], np.ndarray]
"""P(win) of the test rows at their bids CPM, both of shape (n_rows,)."""


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
    win_laws: dict[str, WinLaw] = {
        "isotonic on bid": partial(IsotonicCurve.fit(cells).win_rate, rows),
        "logit, one-hot": partial(OneHotLogit.fit(cells, features).win_rate, rows),
        "LightGBM, monotone": partial(BoostedCurve.fit(cells, features).win_rate, rows),
        "optimizer": optimizer.win_law(rows),
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
        methods=tuple(_judge(name, win_rate, rows, market, groups) for name, win_rate in win_laws.items()),
        market=None if market is None else tuple(float((market <= share).mean()) for share in CURVE_SHARES),
        obstacle=obstacle,
        outcomes=() if obstacle else _bid_for_target(optimizer, rows, test["market_cpm"].to_numpy()),
    )


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
    name: str, win_rate: WinLaw, rows: pd.DataFrame, market: np.ndarray | None, groups: np.ndarray
) -> MethodFigures:
    """The method's figures; `market` is the market price over the bid, shape (n_rows,)."""
    bid_cpm, won = rows["bid_cpm_sum"].to_numpy(float), rows["wins"].to_numpy(float)
    predicted = np.clip(win_rate(bid_cpm), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    expected = [win_rate(share * bid_cpm) for share in CURVE_SHARES]
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
