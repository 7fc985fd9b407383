"""The parts of the bidder's benchmark, small: what they count is right, however long it took."""

import pytest
from servers.embedded import systems
from servers.memcached import memcached

from lab.benchmarks.bidder.market import DOMAIN_MACRO, KEY_MACROS, BenchMarket, make_requests, make_values
from lab.benchmarks.bidder.prices import measure_prices, time_in_turns
from lab.benchmarks.bidder.refreshes import Answers, BenchRun, measure_refreshes
from lab.benchmarks.bidder.split import PERCENTS, measure_split, run_letters
from optimizer.bidder.pricing import Price, Reason
from optimizer.bidder.requests import PriceRequest
from optimizer.bidder.tables import Memcached
from optimizer.core.serving.keys import segment_key
from optimizer.core.serving.traffic import TrafficSplit

__all__ = ["memcached", "systems"]

VALUES = ("20000", "New York 0", "android")
REQUEST = PriceRequest({**dict(zip(KEY_MACROS, VALUES, strict=True)), DOMAIN_MACRO: "a.example"}, user_id="u")
RUNS = {name: BenchRun(number, {segment_key(VALUES): 10.0 + number}, 1.5) for number, name in enumerate(("old", "new"))}


@pytest.fixture
def server(memcached):
    opened = Memcached(*memcached.server, timeout_s=2.0)
    yield opened
    opened.close()


@pytest.fixture
def answers():
    return Answers(RUNS, [TrafficSplit.create({name: 100}, entity_code="drugs_hcp") for name in RUNS])


def answer(run_id: str | None = "old", base: float | None = 10.0, bid: float | None = 15.0) -> Price:
    return Price("drugs_hcp", Reason.SEGMENT, bid, run_id, "key", base)


def test_no_answer_is_wrong_or_missing_or_mixed_while_generations_are_replaced(systems, server, tmp_path):
    market = BenchMarket.open(tmp_path, stack=systems)
    figures = measure_refreshes(market, {"in process": None, "memcached": server}, keys=300, switches=2)
    checked = [figure for figure in figures if figure.bound == 0]
    assert len(checked) == 4 and all(figure.is_kept for figure in checked)
    assert all(figure.yardstick >= 2_000 for figure in checked)


def test_right_answers_are_not_counted(answers):
    answers.check([REQUEST] * 2, [answer()] * 2)
    answers.check([REQUEST], [answer("new", 11.0, 16.5)])
    assert (answers.prices, answers.bid_requests, answers.wrong, answers.mixed) == (3, 2, 0, 0)


@pytest.mark.parametrize(
    "given", [answer(bid=15.1), answer(bid=None), answer(base=5.0), answer("new"), answer(None), answer("another")]
)
def test_a_wrong_or_missing_answer_is_counted(answers, given):
    answers.check([REQUEST], [given])
    assert answers.wrong == 1


def test_an_answer_of_a_generation_that_was_replaced_is_wrong(answers):
    answers.check([REQUEST], [answer("new", 11.0, 16.5)])
    answers.check([REQUEST], [answer()])
    assert answers.wrong == 1


def test_impressions_of_two_generations_in_one_request_are_counted_as_mixed(answers):
    answers.check([REQUEST] * 2, [answer(), answer("new", 11.0, 16.5)])
    assert (answers.wrong, answers.mixed) == (0, 1)


def test_a_price_over_memcached_asks_for_one_key_and_is_held_against_one_bare_get(server):
    figures = measure_prices(server, keys=500, calls=20, rounds=3)
    (asked,) = (figure for figure in figures if figure.unit == "rows")
    assert asked.measured == asked.yardstick == 60
    assert [figure.bound for figure in figures if figure.unit == "call"] == [1.5] * 3 + [0.5] * 3
    assert all(figure.ratio > 0 for figure in figures)


def test_actions_take_turns_and_another_one_begins_each_round():
    called = []
    actions = {name: (called.append, [f"{name}{number}" for number in range(4)]) for name in "ab"}
    seconds = time_in_turns(actions, calls=2, rounds=2)
    assert called == ["a0", "a1", "b0", "b1", "b2", "b3", "a2", "a3"]
    assert {name: it.shape for name, it in seconds.items()} == {"a": (2, 2), "b": (2, 2)}


def test_the_requests_ask_for_segments_that_are_there():
    values = make_values(1_000)
    assert len(set(map(segment_key, values))) == 1_000
    asked = [tuple(request.macros[name] for name in KEY_MACROS) for request in make_requests(values, size=50, seed=1)]
    assert set(asked) <= set(values)


def test_the_split_is_held_against_its_points_and_against_another_process():
    exact, moved = measure_split(ids=5_000)
    letters = run_letters(5_000)
    assert exact.measured == pytest.approx(abs(letters.count("A") / 50 - PERCENTS["A"])) and exact.yardstick == 0.2
    assert (moved.measured, moved.yardstick, moved.is_kept) == (0, 5_000, True)
