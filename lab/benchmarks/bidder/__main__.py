"""`python -m lab.benchmarks.bidder`: bid latency and correctness; status 1 where a bound is missed."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from lab.benchmarks.bidder.http import measure_http
from lab.benchmarks.bidder.market import BenchMarket
from lab.benchmarks.bidder.memcached import running_memcached
from lab.benchmarks.bidder.prices import measure_prices
from lab.benchmarks.bidder.refreshes import measure_refreshes
from lab.benchmarks.bidder.split import measure_split
from lab.benchmarks.figures import Figure
from lab.benchmarks.printing import conclude, telling
from lab.stack import LocalStack
from optimizer.presentation.commands import reporting_errors

KEYS = 100_000
CALLS = 100
ROUNDS = 250
SWITCHES = 3
IDS = 1_000_000
MEMORY_MB = 1_024
HTTP_REQUESTS, HTTP_ROUNDS = 6_000, 9
OBJECTS = "objects"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@partial(reporting_errors, status=2)
def run(
    rounds: Annotated[int, typer.Option(min=3, help="Rounds in which prices and bare gets take turns.")] = ROUNDS,
) -> None:
    """Measure the bidder and print each figure next to its bound."""
    with telling() as tell:
        figures = measure_all(keys=KEYS, calls=CALLS, rounds=rounds, switches=SWITCHES, ids=IDS, tell=tell)
    sys.exit(conclude(figures, console=Console(), title="What the bidder costs"))


def measure_all(
    *, keys: int, calls: int, rounds: int, switches: int, ids: int, tell: Callable[[str], None]
) -> list[Figure]:
    """Return the figures of every part; `tell` is called with what is being measured."""
    with running_memcached(memory_mb=MEMORY_MB) as server, TemporaryDirectory(prefix="optimizer-bench-") as name:
        tell("prices against bare gets")
        figures = measure_prices(server, keys=keys, calls=calls, rounds=rounds)
        tell("a split of many ids")
        figures += measure_split(ids=ids)
        tell("generations that are replaced under load")
        stack = LocalStack.open(Path(name))
        try:
            stack.start(OBJECTS)
            stack.wait_ready()
            market = BenchMarket.open(Path(name), stack=stack)
            places = {"in process": None, "memcached": server}
            figures += measure_refreshes(market, places, keys=keys, switches=switches)
            tell("bids over HTTP against a bare server")
            figures += measure_http(market, stack, server, keys=keys, requests=HTTP_REQUESTS, rounds=HTTP_ROUNDS)
        finally:
            stack.stop()
    return figures


if __name__ == "__main__":
    app()
