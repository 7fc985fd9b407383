"""Prices go on while whole generations are replaced: every answer is checked against the run that it names."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from lab.benchmarks.bidder.market import (
    CAP_CPM,
    ENTITY,
    KEY_MACROS,
    BenchMarket,
    make_bids,
    make_requests,
    make_values,
)
from lab.benchmarks.figures import Figure
from optimizer.bidder.memcached import Memcached
from optimizer.bidder.pricing import Price
from optimizer.bidder.refreshing import Refresher, require_success
from optimizer.bidder.requests import PriceRequest
from optimizer.bidder.service import DEFAULT_INTERVAL_S, BidderService
from optimizer.core.serving.keys import segment_key
from optimizer.core.serving.traffic import TrafficSplit
from optimizer.errors import RefreshError

SHARES = (80, 20)
IMPRESSIONS = 3
"""Of one bid request, all of one user."""

BID_REQUESTS = 2_000
"""This many different ones; they are asked again and again."""


@dataclass(frozen=True, slots=True)
class BenchRun:
    """A run as it was written: what the bidder has to bid. `generation` is its place among the deployments."""

    generation: int
    bids: Mapping[str, float] = field(repr=False)
    domain_multiplier: float


@dataclass(slots=True)
class Answers:
    """How many answers were right, by what the runs wrote and not by what the bidder holds."""

    runs: Mapping[str, BenchRun]
    splits: Sequence[TrafficSplit]
    prices: int = 0
    bid_requests: int = 0
    wrong: int = 0
    mixed: int = 0
    newest: int = 0

    def check(self, requests: Sequence[PriceRequest], prices: Sequence[Price]) -> None:
        """Count the answers to the impressions of one bid request."""
        generations = {self._judge(*pair) for pair in zip(requests, prices, strict=True)}
        self.bid_requests += 1
        self.mixed += len(generations) != 1
        self.newest = max(self.newest, *generations)

    def _judge(self, request: PriceRequest, price: Price) -> int:
        """Count one answer, and return the generation of its run, -1 where it names none."""
        self.prices += 1
        run = self.runs.get(price.run_id or "")
        if run is None:
            self.wrong += 1
            return -1
        base = run.bids[segment_key([request.macros[name] for name in KEY_MACROS])]
        is_right = (
            price.base_bid_cpm == base
            and price.bid_cpm == min(base * run.domain_multiplier, CAP_CPM)
            and price.run_id == self.splits[run.generation].run_of(request.identity)
            and run.generation >= self.newest
        )
        self.wrong += not is_right
        return run.generation


def measure_refreshes(
    market: BenchMarket, servers: Mapping[str, Memcached | None], *, keys: int, switches: int
) -> list[Figure]:
    """Return, for each place where bids lie, what refreshing did to the answers.

    Args:
        servers: {name of the place: memcached, or None for this process}.
        keys: segments of each run; a generation has two.
        switches: how many generations follow the first.

    Raises:
        RefreshError: a refresh failed.
    """
    values = make_values(keys)
    runs = publish_generations(market, values, count=switches + 1)
    requests = make_requests(values, size=BID_REQUESTS * IMPRESSIONS, seed=2)
    asked = [_of_one_user(requests[at : at + IMPRESSIONS]) for at in range(0, len(requests), IMPRESSIONS)]
    return [
        figure
        for name, memcached in servers.items()
        for figure in _measure(market.refresher(memcached), market, runs, asked, name=name, keys=keys)
    ]


def publish_generations(market: BenchMarket, values: Sequence[Sequence[str]], *, count: int) -> dict[str, BenchRun]:
    """Return the runs of that many generations, by run_id; no two bid the same on a segment as a rule."""
    runs = {}
    for number in range(count * len(SHARES)):
        bids, multiplier = make_bids(values, seed=number), 1 + number / 64
        run_id = market.publish(bids, domain_multiplier=multiplier)
        runs[run_id] = BenchRun(number // len(SHARES), bids, multiplier)
    return runs


def split_of(runs: Mapping[str, BenchRun], generation: int) -> dict[str, int]:
    """Return the percents of the generation's runs."""
    return dict(zip([it for it, run in runs.items() if run.generation == generation], SHARES, strict=True))


def price_during(
    service: BidderService, market: BenchMarket, runs: Mapping[str, BenchRun], asked: Sequence[list[PriceRequest]]
) -> tuple[Answers, list[float], list[float]]:
    """Ask without a pause while another thread switches through all generations.

    Returns:
        The answers; the seconds of each refresh; the seconds of each impression.
    """
    percents = [split_of(runs, it) for it in range(1 + max(run.generation for run in runs.values()))]
    answers = Answers(runs, [TrafficSplit.create(it, entity_code=ENTITY) for it in percents])
    refreshes: list[float] = []
    failures: list[Exception] = []

    def switch() -> None:
        try:
            for split in percents[1:]:
                market.deploy(split)
                started = perf_counter()
                require_success(service.refresh())
                refreshes.append(perf_counter() - started)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=switch, name="bench-refresh")
    thread.start()
    seconds: list[float] = []

    async def ask() -> None:
        for requests in asked:
            started = perf_counter()
            prices = await service.fetch_and_price(requests, entity_code=ENTITY)
            seconds.append((perf_counter() - started) / len(requests))
            answers.check(requests, prices)

    async def ask_meanwhile() -> None:
        async with service.connected():
            while thread.is_alive() or (answers.newest < len(percents) - 1 and not failures):
                await ask()

    asyncio.run(ask_meanwhile())
    thread.join()
    if failures:
        raise RefreshError(f"a refresh of the benchmark failed: {failures[0]}") from failures[0]
    return answers, refreshes, seconds


def _measure(
    refresher: Refresher,
    market: BenchMarket,
    runs: Mapping[str, BenchRun],
    asked: Sequence[list[PriceRequest]],
    *,
    name: str,
    keys: int,
) -> list[Figure]:
    service = BidderService(refresher)
    market.deploy(split_of(runs, 0))
    require_success(service.refresh())
    answers, refreshes, seconds = price_during(service, market, runs, asked)
    during = f"while {len(refreshes)} generations were replaced, {name}"
    took = float(np.median(refreshes))
    return [
        Figure(f"refresh of 2 x {keys:,} keys, {name}", took, DEFAULT_INTERVAL_S, "the usual pause", "s", 1.0),
        Figure(f"wrong or missing {during}", answers.wrong, answers.prices, "answers", "rows", 0.0),
        Figure(f"mixed generations {during}", answers.mixed, answers.bid_requests, "bid requests", "rows", 0.0),
        Figure(
            f"a price {during}, p99", float(np.percentile(seconds, 99)), float(np.median(seconds)), "its p50", "call"
        ),
    ]


def _of_one_user(requests: Sequence[PriceRequest]) -> list[PriceRequest]:
    return [PriceRequest(it.macros, user_id=requests[0].user_id) for it in requests]
