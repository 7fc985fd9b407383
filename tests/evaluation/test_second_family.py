"""One run and two daily runs on small markets of the second family: what is judged, and how."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lab.evaluation.second_case import SecondCase
from lab.evaluation.second_family import ClosedLoop, OpenLoop, judge_closed_loop, judge_open_loop
from lab.evaluation.self_report import Interval, forecast_shortfall, said_by
from lab.second_market.requests import draw_requests
from lab.second_market.scenarios import SCENARIOS, Scenario
from lab.second_market.served import ServedTable


def small(name: str, **market: object) -> Scenario:
    scenario = SCENARIOS[name]
    return replace(scenario, market=replace(scenario.market, adspaces=6, regions=4, bids_a_day=2_000, **market))


@pytest.fixture(scope="module")
def base() -> OpenLoop:
    return judge_open_loop(small("base"), 1)


@pytest.fixture(scope="module")
def loop() -> ClosedLoop:
    return judge_closed_loop(small("base"), 1, days=3)


def test_an_open_loop_says_what_was_reached_and_what_was_said(base):
    assert abs(base.gap) < 0.08 and base.gap == pytest.approx(base.outcome.achieved - 0.5)
    assert base.said == "bids" and base.is_right and not base.has_false_feature
    assert base.slope == pytest.approx(base.true_slope, abs=4 * base.slope_error)
    assert base.win_rate.value == pytest.approx(0.5, abs=0.05)
    assert 1.0 <= base.outcome.cpm_over_ideal < 1.1
    assert base.outcome.ideal_cpm < base.outcome.flat_cpm


def test_an_open_loop_comes_out_the_same_twice(base):
    again = judge_open_loop(small("base"), 1)
    assert replace(again, seconds=0.0) == replace(base, seconds=0.0)


def test_flat_bids_are_to_be_held_and_are():
    judged = judge_open_loop(small("flat_bids"), 1)
    assert judged.said in ("held", "learning") and judged.is_right
    assert 0.8 < judged.outcome.bid_over_ideal < 1.1


def test_a_cap_that_binds_is_a_shortfall():
    judged = judge_open_loop(small("unreachable_target"), 1)
    assert judged.shortfall > 0.02 and judged.outcome.achieved < 0.5


def test_margin_is_broken_where_a_bid_leaves_less_than_it():
    case = SecondCase.open(small("margin_binding"), 1)
    allowed = 0.7 * 1_000 * case.log.view_revenue
    requests = draw_requests(case.market, days=[60], per_day=1_000)
    for factor, share in ((0.99, 0.0), (1.01, 1.0)):
        table = ServedTable(("os_code",), {}, factor * allowed, 1_000.0)
        assert case.judge(requests, table.price(case.market, requests)).margin_broken == share


def test_a_closed_loop_bids_each_day_with_the_run_of_its_morning(loop):
    assert [day.day for day in loop.days] == [1, 2, 3]
    assert all(day.is_promoted for day in loop.days)
    assert loop.gap == pytest.approx(loop.days[2].outcome.achieved - 0.5)
    assert loop.cpm_over_flat == pytest.approx(loop.days[2].outcome.cpm_over_flat)
    assert loop.largest_move == max(day.largest_move for day in loop.days) > 0


def test_a_run_that_validation_fails_does_not_bid(monkeypatch):
    case = SecondCase.open(small("base"), 1)
    monkeypatch.setattr(
        "lab.evaluation.second_case.verdict_of",
        lambda *_, **__: SimpleNamespace(is_passed=False, failures=["bad: 1 > 0"], warnings=[]),
    )
    (day,) = judge_closed_loop(small("base"), 1, days=1).days
    assert not day.is_promoted and day.failures == ("bad",) and day.largest_move == 0.0
    assert day.outcome.achieved == pytest.approx(case.market.settings.logged_win_rate, abs=0.05)


def test_a_table_bids_by_key_and_blocks_keys_and_bids_the_fallback_elsewhere():
    case = SecondCase.open(small("base"), 1)
    requests = draw_requests(case.market, days=[60], per_day=1_000)
    bids = {"os000000": 8.0, "os000001": 0.0}
    table = ServedTable(("os_code",), bids, 5.0, 9.0, domain_multipliers={"site000000.example": 1.25})
    made = table.price(case.market, requests)
    system, is_first = case.market.system[requests.segment], requests.domain == 0
    assert np.isnan(made.bid_cpm[system == 1]).all() and (made.base_cpm[system == 2] == 5.0).all()
    assert (made.bid_cpm[(system == 0) & is_first] == 9.0).all()
    assert (made.bid_cpm[(system == 2) & is_first] == 6.25).all()


def run_that(reasons: list[str], *, is_naive: bool = False, is_learning: bool = False) -> SimpleNamespace:
    bids = pd.DataFrame({"suggested_bid_cpm": 1.0, "reason": reasons})
    report = SimpleNamespace(is_held=False, is_slope_naive=is_naive)
    figures = SimpleNamespace(is_learning=is_learning)
    return SimpleNamespace(priced=SimpleNamespace(bids=bids, figures=figures), report=report)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (run_that(["target", "held"]), "bids"),
        (run_that(["held", "held"]), "held"),
        (run_that(["target"], is_naive=True), "naive"),
        (run_that(["target"], is_learning=True), "learning"),
    ],
)
def test_what_a_run_says_is_read_from_its_figures_and_reasons(run, said):
    assert said_by(run) == said


def test_a_forecast_covers_the_truth_only_where_it_has_an_interval():
    figures = {"expected_win_rate": 0.47, "expected_win_rate_low": 0.45, "expected_win_rate_high": 0.49}
    forecast = Interval.of(figures, "expected_win_rate")
    assert [forecast.covers(truth) for truth in (0.44, 0.45, 0.49, 0.5)] == [0.0, 1.0, 1.0, 0.0]
    assert np.isnan(Interval.of({"expected_win_rate": 0.47}, "expected_win_rate").covers(0.47))
    run = SimpleNamespace(priced=SimpleNamespace(figures=SimpleNamespace(model_dump=lambda: figures)))
    assert forecast_shortfall(run, target_win_rate=0.5) == pytest.approx(0.03)
