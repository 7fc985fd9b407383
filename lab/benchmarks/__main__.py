"""`python -m lab.benchmarks`: what the core costs, as ratios; status 1 where a bound is missed."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from lab.benchmarks.extracting import measure_cells
from lab.benchmarks.figures import Figure
from lab.benchmarks.growing import measure_growth
from lab.benchmarks.inverting import measure_inversion
from lab.benchmarks.printing import conclude, telling
from lab.benchmarks.training import measure_training
from lab.benchmarks.what_if import LONGEST_SECONDS, measure_what_if
from optimizer.presentation.commands import reporting_errors

LOG_BIDS = 1_000_000
SEGMENTS = (1_000, 10_000, 100_000, 1_000_000)
GROWING_BIDS = (1_000_000, 5_000_000, 20_000_000)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@partial(reporting_errors, status=2)
def run(
    quick: Annotated[bool, typer.Option("--quick", help="Skip the logs of 5 and 20 million bids.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of each timing; the best counts.")] = 5,
) -> None:
    """Measure the core and print each figure next to its bound."""
    with telling() as tell:
        figures = measure_all(
            log_bids=LOG_BIDS,
            segments=SEGMENTS,
            growing_bids=GROWING_BIDS[:1] if quick else GROWING_BIDS,
            repeats=repeats,
            tell=tell,
        )
    sys.exit(conclude(figures, console=Console()))


def measure_all(
    *,
    log_bids: int,
    segments: Sequence[int],
    growing_bids: Sequence[int],
    what_if_segments: Sequence[int] = tuple(LONGEST_SECONDS),
    repeats: int,
    tell: Callable[[str], None],
) -> list[Figure]:
    """Return the figures of every part; `tell` is called with what is being measured."""
    with TemporaryDirectory(prefix="optimizer-bench-") as name:
        tell("cells against raw rows")
        figures = measure_cells(Path(name), bids=log_bids, repeats=repeats)
        tell("training against LightGBM alone")
        figures += measure_training(Path(name), repeats=min(repeats, 2))
    tell("bids against evaluations of F")
    figures += measure_inversion(sizes=segments, repeats=repeats)
    tell("a what-if against the time of a slider")
    figures += measure_what_if(sizes=what_if_segments, repeats=repeats)
    return figures + measure_growth(sizes=growing_bids, tell=tell)


if __name__ == "__main__":
    app()
