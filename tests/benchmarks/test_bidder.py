"""The parts of the bidder's benchmark, small: what they count is right, however long it took."""

import asyncio
from io import StringIO

import pytest
from rich.console import Console
from servers.embedded import systems
from servers.memcached import memcached

from lab.benchmarks.bidder.http import BOUNDS, PLAIN, ROUTE, ask, measure_http
from lab.benchmarks.bidder.market import DOMAIN_MACRO, KEY_MACROS, BenchMarket, make_requests, make_values
from lab.benchmarks.bidder.prices import measure_prices, time_in_turns
from lab.benchmarks.bidder.refreshes import Answers, BenchRun, measure_refreshes
from lab.benchmarks.bidder.split import PERCENTS, measure_split, run_letters
from lab.benchmarks.printing import conclude
from optimizer.bidder.memcached import Memcached
from optimizer.bidder.pricing import Price
from optimizer.bidder.reasons import Reason
from optimizer.bidder.requests import PriceRequest
from optimizer.core.serving.keys import segment_key
from optimizer.core.serving.traffic import TrafficSplit
from optimizer.errors import DataError

__all__ = ["memcached", "systems"]

VALUES = ("20000", "New York 0", "android")
REQUEST = PriceRequest({**dict(zip(KEY_MACROS, VALUES, strict=True)), DOMAIN_MACRO: "a.example"}, user_id="u")
RUNS = {name: BenchRun(number, {segment_key(VALUES): 10.0 + number}, 1.5) for number, name in enumerate(("old", "new"))}


@pytest.fixture
def server(memcached):
    return Memcached([memcached.server], timeout_s=2.0)


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


def test_bids_over_http_are_held_against_a_bare_route_and_a_bare_function(systems, server, tmp_path):
    market = BenchMarket.open(tmp_path, stack=systems)
    figures = measure_http(market, systems, server, keys=300, requests=1_000, rounds=3)
    assert [(figure.against, figure.bound) for figure in figures[:4]] == [
        *((ROUTE, bound) for bound in BOUNDS.values()),
        *((PLAIN, None) for _ in BOUNDS),
    ]
    assert len(figures) == 4 + 2 * len(BOUNDS) and all(figure.measured > 0 for figure in figures)
    printed = StringIO()
    conclude(figures, console=Console(file=printed, width=200), title="HTTP")
    assert printed.getvalue().count("a bid over HTTP, in process") == 2


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"]
)
def test_a_server_that_does_not_bid_is_not_measured(answer):
    async def ask_it() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"}")
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            await ask(listening.sockets[0].getsockname()[1], [b"{}"], connections=1)

    with pytest.raises(DataError, match="1 of 1 requests of the benchmark were not bid on"):
        asyncio.run(ask_it())


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

    async def call(argument):
        called.append(argument)

    actions = {name: (call, [f"{name}{number}" for number in range(4)]) for name in "ab"}
    seconds = asyncio.run(time_in_turns(actions, calls=2, rounds=2))
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
