"""A price in process and over memcached, against a bare get of the same key through the same client."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from lab.benchmarks.bidder.market import (
    CAP_CPM,
    DOMAIN,
    DOMAIN_MACRO,
    ENTITY,
    FALLBACK_CPM,
    KEY_MACROS,
    make_bids,
    make_requests,
    make_values,
)
from lab.benchmarks.figures import Figure
from optimizer.bidder.generation import Generation, ServedRun
from optimizer.bidder.memcached import Memcached
from optimizer.bidder.pricing import Price, find_segment, places_of, price, price_segment
from optimizer.bidder.requests import PriceRequest
from optimizer.bidder.tables import BidTable, InProcessTable, MemcachedTable
from optimizer.core.serving.traffic import TrafficSplit
from optimizer.errors import DataError

GETS_BOUND = 1.5
IN_PROCESS_BOUND = GETS_BOUND - 1
"""The bound of a price in process: what a price over memcached may cost in addition to its get."""

PERCENTS = {"20260203_060000": 80, "20260203_060100": 20}
STATISTICS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": partial(np.mean, axis=1),
    "p50": partial(np.median, axis=1),
    "p99": partial(np.percentile, q=99, axis=1),
}
"""Of each round's calls: from shape (rounds, calls) to (rounds,)."""


def measure_prices(server: Memcached, *, keys: int, calls: int, rounds: int) -> list[Figure]:
    """Return what a price costs; `keys` segments a run, `calls` of each kind in every round.

    Raises:
        DataError: prices over memcached and in process differ, so that the times say nothing.
    """
    values = make_values(keys)
    bids = [make_bids(values, seed=seed) for seed in range(len(PERCENTS))]
    tables = [MemcachedTable.describe(server, of_run, content_id=str(it)) for it, of_run in enumerate(bids)]
    for table, of_run in zip(tables, bids, strict=True):
        table.write(of_run, now=datetime.now(UTC).timestamp())
    remote, local = make_generation(tables), make_generation([InProcessTable(of_run) for of_run in bids])
    requests = make_requests(values, size=calls * rounds, seed=1)
    places = [places_of([find_segment(it, generation=remote)]) for it in requests]

    async def fetch_and_price(request: PriceRequest) -> Price:
        segment = find_segment(request, generation=remote)
        return price_segment(segment, remote, await server.fetch(places_of([segment])))

    async def price_in_process(request: PriceRequest) -> Price:
        return price(request, generation=local)

    async def measure() -> dict[str, np.ndarray]:
        async with server.reading():
            return await take_turns()

    async def take_turns() -> dict[str, np.ndarray]:
        for request in requests[:2_000]:
            if await fetch_and_price(request) != await price_in_process(request):
                raise DataError("prices over memcached are not those in process; run the tests of tests/bidder")
        before = _asked(server)
        actions = {
            "get": (server.fetch, places),
            "memcached": (fetch_and_price, requests),
            "in process": (price_in_process, requests),
        }
        seconds = await time_in_turns(actions, calls=calls, rounds=rounds)
        return {**seconds, "asked": np.array(_asked(server) - before)}

    seconds = asyncio.run(measure())
    asked = int(seconds["asked"])
    return [
        *_figures("a price over memcached", seconds["memcached"], seconds["get"], bound=GETS_BOUND),
        Figure("keys asked of memcached", asked - len(places), len(requests), "prices over memcached", "rows", 1.0),
        *_figures("a price in process", seconds["in process"], seconds["get"], bound=IN_PROCESS_BOUND),
    ]


async def time_in_turns(
    actions: Mapping[str, tuple[Callable[[Any], Awaitable[object]], Sequence[Any]]], *, calls: int, rounds: int
) -> dict[str, np.ndarray]:
    """Return the wall-clock seconds of every call, shape (rounds, calls), by action.

    In each round every action takes the next `calls` arguments of its own; which of them begins moves on by one.
    """
    seconds = {name: np.empty((rounds, calls)) for name in actions}
    names = list(actions)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            action, arguments = actions[name]
            for at, argument in enumerate(arguments[number * calls : (number + 1) * calls]):
                started = perf_counter()
                await action(argument)
                seconds[name][number, at] = perf_counter() - started
    return seconds


def make_generation(tables: Sequence[BidTable]) -> Generation:
    """Return a generation of two runs that splits the traffic 80 to 20."""
    return Generation(
        entity_code=ENTITY,
        fingerprint="bench",
        percents=PERCENTS,
        split=TrafficSplit.create(PERCENTS, entity_code=ENTITY),
        runs={
            run_id: ServedRun(run_id, KEY_MACROS, table, {DOMAIN: 1.2}, {"1234567893": 1.1}, FALLBACK_CPM, CAP_CPM)
            for run_id, table in zip(PERCENTS, tables, strict=True)
        },
        domain_macro=DOMAIN_MACRO,
        npi_macro=None,
        loaded_at=datetime.now(UTC),
    )


def _figures(what: str, seconds: np.ndarray, yardstick: np.ndarray, *, bound: float) -> list[Figure]:
    """One line a statistic, from the round whose ratio is the median of all rounds.

    Others who want the processor slow all calls of a round, and one ratio less than the times that it is made of.
    """
    figures = []
    for name, statistic in STATISTICS.items():
        ours, bare = statistic(seconds), statistic(yardstick)
        middle = np.argsort(ours / bare)[len(ours) // 2]
        figures.append(Figure(f"{what}, {name}", float(ours[middle]), float(bare[middle]), "a bare get", "call", bound))
    return figures


def _asked(server: Memcached) -> int:
    with server.loading() as client:
        return int(client.stats()[b"cmd_get"])
