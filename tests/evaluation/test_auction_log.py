"""`make truth DATA=...` on CSV files whose truth is known: from formulas, and from the simulated market."""

from collections.abc import Callable
from datetime import date
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.special import expit, logit
from typer.testing import CliRunner

from lab.evaluation.__main__ import app
from lab.evaluation.auction_csv import read_auction_log
from lab.evaluation.auction_log import judge_auction_log, run_auction_log
from lab.evaluation.log_judgement import CURVE_SHARES, LogJudgement, MethodFigures
from lab.market.auctions import draw_requests
from lab.market.events import settle
from lab.market.outcome import request_win_probability
from lab.market.policies import Prices
from lab.market.presets import PRESETS
from lab.market.world import World
from optimizer.errors import ConfigError, DataError

START_DAY, DAYS, SLOPE = date(2026, 1, 5), 14, 2.0
METHODS = ["isotonic on bid", "logit, one-hot", "LightGBM, monotone", "optimizer"]


def auctions(seed: int, *, count: int = 20_000, days: int = DAYS) -> pd.DataFrame:
    """Auctions with random bids. P(win) = sigmoid(SLOPE (log(bid / 8) - place)), place by adspace and region.

    Two columns are named like the optimizer's own and one has what LightGBM forbids in a name.
    """
    rng = np.random.default_rng(seed)
    adspace, region = rng.integers(0, 8, count), rng.integers(0, 6, count)
    place = np.linspace(-0.9, 0.9, 8)[adspace] + np.linspace(-0.4, 0.4, 6)[region]
    rival = 8 * np.exp(place + logit(rng.random(count)) / SLOPE)
    bid = 8 * np.exp(rng.normal(0, 0.5, count))
    minutes = np.sort(rng.integers(0, days * 1440, count))
    return pd.DataFrame(
        {
            "Timestamp": pd.Timestamp(START_DAY) + pd.to_timedelta(minutes, unit="min"),
            "Segment": "a" + pd.Series(adspace).astype(str),
            'geo:"{region}"': pd.Series(region, dtype=object).where(region > 0, None),
            "anchor": rng.integers(0, 3, count),
            "auction": np.arange(count),
            "bid price": bid,
            "Won": (bid >= rival).astype(int),
            "market-price": rival,
        }
    )


def confounded_auctions(seed: int, *, count: int = 60_000) -> pd.DataFrame:
    """Auctions bid by an earlier optimizer: base bids follow the adspace, multipliers the visitor; jitter of 10 %."""
    rng = np.random.default_rng(seed)
    adspace, region, day = rng.integers(0, 8, count), rng.integers(0, 6, count), rng.integers(0, 21, count)
    place, quality = np.linspace(-0.8, 0.8, 8)[adspace], rng.normal(0, 0.4, count)
    jitter = 1 + 0.1 * rng.normal(size=(8, 6, 21)).clip(-2, 2)[adspace, region, day]
    base = 8 * np.exp(0.8 * place) * jitter
    bid = base * np.exp(0.8 * quality)
    rival = 8 * np.exp(0.3 + place + quality + logit(rng.random(count)) / SLOPE)
    return pd.DataFrame(
        {
            "day": day + 1,
            "adspace": "a" + pd.Series(adspace).astype(str),
            "region": "r" + pd.Series(region).astype(str),
            "bid": bid,
            "base_bid": base,
            "won": bid >= rival,
            "paying_price": rival,
        }
    )


@pytest.fixture
def written(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    def write(log: pd.DataFrame) -> Path:
        log.to_csv(tmp_path / "log.csv", index=False)
        return tmp_path / "log.csv"

    return write


def judged(path: Path) -> tuple[LogJudgement, dict[str, MethodFigures]]:
    judgement = judge_auction_log(read_auction_log(path))
    return judgement, {figures.method: figures for figures in judgement.methods}


@pytest.fixture(scope="module")
def judged_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., tuple[LogJudgement, dict[str, MethodFigures]]]:
    """Return what judges the log of a seed: `judged_once(auctions, 1)`; the same log is judged once for all tests."""

    @cache
    def judge(make: Callable[[int], pd.DataFrame], seed: int) -> tuple[LogJudgement, dict[str, MethodFigures]]:
        path = tmp_path_factory.mktemp("log") / "log.csv"
        make(seed).to_csv(path, index=False)
        return judged(path)

    return judge


def test_where_the_logit_is_the_truth_its_curve_and_the_optimizers_are_right(judged_once):
    judgement, figures = judged_once(auctions, 1)
    assert list(figures) == METHODS
    assert judgement.features == ("Segment", 'geo:"{region}"', "anchor")
    assert judgement.anchor == "Segment"
    assert judgement.segment_features == ("Segment", 'geo:"{region}"')
    assert figures["logit, one-hot"].landscape_error < 0.02
    assert figures["optimizer"].landscape_error < 0.03
    assert figures["isotonic on bid"].landscape_error > 0.1
    assert judgement.best.method in ("logit, one-hot", "optimizer")
    assert judgement.best.method in judgement.verdict


def test_the_figures_at_the_logged_bids_are_those_of_the_true_win_rates(judged_once):
    log = auctions(1)
    judgement, figures = judged_once(auctions, 1)
    test = log[log["Timestamp"] >= judgement.test_from]
    region = test['geo:"{region}"'].fillna(0).astype(int)
    place = np.linspace(-0.9, 0.9, 8)[test["Segment"].str[1:].astype(int)] + np.linspace(-0.4, 0.4, 6)[region]
    true = expit(SLOPE * (np.log(test["bid price"] / 8) - place))
    least = -(true * np.log(true) + (1 - true) * np.log(1 - true)).mean()
    assert figures["logit, one-hot"].log_loss == pytest.approx(least, abs=0.015)
    assert figures["isotonic on bid"].log_loss > least + 0.05
    assert figures["logit, one-hot"].auc > figures["isotonic on bid"].auc + 0.05
    assert all(method.ece < 0.05 for method in figures.values())


def test_the_last_30_percent_of_the_days_are_judged(written):
    judgement, _ = judged(written(auctions(2, days=10)))
    assert judgement.test_from.date() == date(2026, 1, 12)
    assert judgement.test_rows == pytest.approx(6_000, rel=0.1)


def test_of_two_days_the_second_is_judged(written):
    judgement, figures = judged(written(auctions(2, days=2)))
    assert judgement.test_from.date() == date(2026, 1, 6)
    assert figures["logit, one-hot"].landscape_error < 0.03


def test_of_one_day_the_last_30_percent_of_the_auctions_are_judged(written):
    judgement, figures = judged(written(auctions(2, days=1)))
    assert (judgement.train_rows, judgement.test_rows) == (14_000, 6_000)
    assert figures["optimizer"].landscape_error < 0.05


def test_a_log_of_dates_alone_is_divided_evenly_over_their_hours(written):
    log = auctions(2, days=2, count=12_000)
    dates = log.assign(Timestamp=log["Timestamp"].dt.strftime("%Y-%m-%d"))
    judgement, figures = judged(written(dates))
    assert judgement.segment_features == ("Segment", 'geo:"{region}"')
    assert figures["optimizer"].landscape_error < 0.06


def test_the_optimizer_predicts_about_as_well_as_lightgbm_on_a_log_of_a_few_days(written):
    judgement, figures = judged(written(auctions(3, days=5, count=12_000)))
    assert judgement.segment_features == ("Segment", 'geo:"{region}"')
    assert figures["optimizer"].auc > figures["LightGBM, monotone"].auc - 0.01
    assert figures["optimizer"].log_loss < figures["LightGBM, monotone"].log_loss + 0.01


def test_jittered_bids_are_moved_to_the_target_for_less_than_a_flat_bid_pays(judged_once):
    judgement, _ = judged_once(confounded_auctions, 1)
    (made,) = judgement.outcomes
    assert made.held_share == 0.0
    assert made.win_rate == pytest.approx(0.30, abs=0.03)
    assert made.cpm < made.flat_cpm


def test_without_an_identified_slope_bids_are_held_and_the_table_says_what_trusting_it_would_do(judged_once):
    log = auctions(1)
    held, trusted = judged_once(auctions, 1)[0].outcomes
    assert (held.held_share, trusted.held_share) == (1.0, 0.0)
    assert held.win_rate == pytest.approx(log["Won"].mean(), abs=0.06)
    assert trusted.win_rate == pytest.approx(0.30, abs=0.03)
    assert trusted.cpm < trusted.flat_cpm


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_jittered_base_bids_show_a_curve_that_bids_high_where_rivals_do_hide(judged_once, seed):
    judgement, figures = judged_once(confounded_auctions, seed)
    assert judgement.best is figures["optimizer"]
    assert figures["optimizer"].landscape_error < 0.06
    assert figures["LightGBM, monotone"].landscape_error > 0.12
    assert figures["logit, one-hot"].landscape_error > 0.12


def test_a_simulated_markets_log_is_judged_as_its_truth_says(written):
    world = World.create(5, settings=PRESETS["drugs_hcp"])
    requests = draw_requests(world, start_day=START_DAY, days=DAYS, count=30_000)
    bid_cpm = world.flat_bid_cpm * np.exp(np.random.default_rng(5).normal(0, 0.4, len(requests)))
    events = settle(world, requests, prices=Prices(bid_cpm))
    bids, views = events.bids.to_pandas(), events.views.to_pandas()
    log = bids.assign(won=bids["bid_id"].isin(views["bid_id"]), market_price=requests.rival_cpm)
    judgement, figures = judged(written(log))
    is_test = (bids["bid_ts"] >= judgement.test_from).to_numpy()
    not_lost_otherwise = 1 - world.settings.lost_otherwise_share
    true = [request_win_probability(world, requests, bid_cpm=share * bid_cpm)[is_test].mean() for share in CURVE_SHARES]
    assert judgement.anchor == "internal_adspace_id"
    assert "npi" not in judgement.features and "bid_id" not in judgement.features
    assert np.abs(np.array(judgement.market) - np.array(true) / not_lost_otherwise).max() < 0.02
    for method in ("logit, one-hot", "optimizer"):
        assert np.abs(np.array(figures[method].curve) - true).max() < 0.04
        assert figures[method].landscape_error < 0.4 * figures["isotonic on bid"].landscape_error


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda log: log.drop(columns="market-price"), "the log has no market prices"),
        (
            lambda log: log.assign(**{"market-price": log["market-price"].where(log["Won"] == 1)}),
            "of the auctions only",
        ),
        (lambda log: log.assign(**{"market-price": log["bid price"] * log["Won"]}), "not the best rival's"),
    ],
    ids=["none", "of wins only", "what was paid"],
)
def test_without_every_market_price_no_curve_is_called_the_best(written, change, reason):
    judgement, figures = judged(written(change(auctions(4, count=8_000))))
    assert reason in judgement.obstacle and reason in judgement.verdict
    assert "cannot be said" in judgement.verdict
    assert judgement.market is None and judgement.outcomes == ()
    assert {method.landscape_error for method in figures.values()} == {None}
    assert judgement.best.log_loss == min(method.log_loss for method in figures.values())


def test_the_report_has_every_method_every_share_and_the_verdict_last(written):
    output = StringIO()
    log = auctions(4, count=8_000).assign(npi=9_123_456_789)
    run_auction_log(written(log), console=Console(file=output, width=120))
    text = output.getvalue()
    assert all(text.count(method) >= 2 for method in METHODS)
    assert "AFT" in text and "9123456789" not in text
    assert all(f" {share:g} " in text for share in CURVE_SHARES)
    assert text.strip().splitlines()[-1].startswith("The best curve: ")


@pytest.mark.parametrize(
    ("spell", "first"),
    [
        (lambda time: time.dt.strftime("%Y-%m-%d %H:%M:%S"), "2026-01-05"),
        (lambda time: time.dt.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"), "2026-01-05"),
        (lambda time: time.dt.strftime("%Y%m%d%H%M%S") + "123", "2026-01-05"),
        (lambda time: time.dt.strftime("%Y%m%d"), "2026-01-05"),
        (lambda time: (time - pd.Timestamp("1970-01-01")) // pd.Timedelta(seconds=1), "2026-01-05"),
        (lambda time: (time - pd.Timestamp("1970-01-01")) // pd.Timedelta(milliseconds=1), "2026-01-05"),
        (lambda time: (time - pd.Timestamp("2026-01-05")) // pd.Timedelta(days=1), "2000-01-01"),
    ],
    ids=["text", "ISO 8601", "compact", "day", "Unix s", "Unix ms", "day number"],
)
def test_times_are_read_as_logs_spell_them(written, spell, first):
    log = auctions(5, count=400)
    rows = read_auction_log(written(log.assign(Timestamp=spell(log["Timestamp"])))).rows
    assert rows["time"].iloc[0].date() == date.fromisoformat(first)
    assert rows["time"].dt.floor("D").nunique() == DAYS
    assert rows["won"].sum() == log["Won"].sum()


def test_rows_are_put_in_order_of_time(written):
    log = auctions(5, count=400)
    shuffled = log.sample(frac=1, random_state=1)
    assert read_auction_log(written(shuffled)).rows["time"].is_monotonic_increasing


@pytest.mark.parametrize("column", ["Timestamp", "bid price", "Won"])
def test_a_log_without_a_needed_column_is_refused_with_the_columns_found(written, column):
    log = auctions(6, count=400).drop(columns=column)
    what = {"Timestamp": "the time of the auction", "bid price": "the bid", "Won": "won or lost"}[column]
    with pytest.raises(ConfigError, match=rf"log\.csv has no column for {what}; call one .* columns found: .*anchor"):
        read_auction_log(written(log))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("Timestamp", "yesterday", "'Timestamp' cannot be read in 1 of 400 rows, first in row 8: 'yesterday'"),
        ("Timestamp", None, "'Timestamp' cannot be read in 1 of 400 rows, first in row 8: empty"),
        (
            "bid price",
            "0",
            "'bid price' cannot be read in 1 of 400 rows, first in row 8: '0'; bids are numbers above 0",
        ),
        ("bid price", "a lot", "first in row 8: 'a lot'"),
        ("Won", "maybe", "first in row 8: 'maybe'; write 1 or 0"),
        ("market-price", "-1", "first in row 8: '-1'; prices are numbers from 0 up, or empty"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_with_its_row(written, column, value, message):
    log = auctions(6, count=400).astype(object)
    log.loc[7, column] = value
    with pytest.raises(DataError) as refused:
        read_auction_log(written(log))
    assert message in str(refused.value)


def test_a_log_without_features_is_refused(written):
    log = auctions(6, count=400)[["Timestamp", "bid price", "Won", "auction"]]
    with pytest.raises(DataError, match=r"no feature: none of its other columns \(auction\)"):
        read_auction_log(written(log))


@pytest.mark.parametrize("won", [0, 1])
def test_a_log_of_wins_or_of_losses_only_is_refused(written, won):
    with pytest.raises(DataError, match="both wins and losses are needed"):
        judged(written(auctions(6, count=400).assign(Won=won)))


def test_no_file_an_empty_file_and_no_text_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.csv cannot be read: No such file"):
        read_auction_log(tmp_path / "nothing.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match=r"empty\.csv is not a CSV file with a header"):
        read_auction_log(tmp_path / "empty.csv")
    (tmp_path / "header.csv").write_text("time,bid,won,adspace\n")
    with pytest.raises(DataError, match=r"header\.csv has no rows"):
        read_auction_log(tmp_path / "header.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\xff\xfe\x00")
    with pytest.raises(DataError, match=r"picture\.csv is not a CSV file"):
        read_auction_log(tmp_path / "picture.csv")


def test_a_log_that_cannot_be_used_is_one_line_and_status_two_for_one_says_that_a_goal_is_missed(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("x\n")
    done = CliRunner().invoke(app, ["--data", str(log)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: log.csv has no rows")
