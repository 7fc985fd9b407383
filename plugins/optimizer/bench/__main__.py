"""`python -m optimizer.bench`: what the core costs, as ratios; status 1 where a bound is missed."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from optimizer.bench.extracting import measure_cells
from optimizer.bench.figures import Figure
from optimizer.bench.growing import measure_growth
from optimizer.bench.inverting import measure_inversion
from optimizer.bench.training import measure_training
from optimizer.errors import OptimizerError

LOG_BIDS = 1_000_000
SEGMENTS = (1_000, 10_000, 100_000, 1_000_000)
GROWING_BIDS = (1_000_000, 5_000_000, 20_000_000)
UNITS = {"s": "{:,.4g} s", "rows": "{:,.0f}", "bytes": "{:,.0f} B", "MiB": "{:,.0f} MiB", "times": "{:.2f} times"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    quick: Annotated[bool, typer.Option("--quick", help="Leave the logs of 5 and 20 million bids out.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Tries of each timing; the best counts.")] = 5,
) -> None:
    """Measure the core and print each figure beside its bound."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("starting")
        figures = measure_all(
            log_bids=LOG_BIDS,
            segments=SEGMENTS,
            growing_bids=GROWING_BIDS[:1] if quick else GROWING_BIDS,
            repeats=repeats,
            tell=lambda text: progress.update(bar, description=text),
        )
    sys.exit(conclude(figures, console=Console()))


def measure_all(
    *,
    log_bids: int,
    segments: Sequence[int],
    growing_bids: Sequence[int],
    repeats: int,
    tell: Callable[[str], None],
) -> list[Figure]:
    """Return the figures of every part; `tell` is told what is being measured."""
    with TemporaryDirectory(prefix="optimizer-bench-") as name:
        tell("cells against raw rows")
        figures = measure_cells(Path(name), bids=log_bids, repeats=repeats)
        tell("training against LightGBM alone")
        figures += measure_training(Path(name), repeats=min(repeats, 2))
    tell("bids against evaluations of F")
    figures += measure_inversion(sizes=segments, repeats=repeats)
    return figures + measure_growth(sizes=growing_bids, tell=tell)


def conclude(figures: Sequence[Figure], *, console: Console) -> int:
    """Print the table and return the status: 1 where a bound is missed."""
    table = Table("what", "measured", "against", "ratio", "bound", "verdict", title="What the core costs")
    for figure in figures:
        verdict = "-" if figure.bound is None else "kept" if figure.is_kept else "[red]missed[/red]"
        bound = "-" if figure.bound is None else f"{figure.bound:g}"
        spell = UNITS[figure.unit].format
        against = f"{spell(figure.yardstick)}: {figure.against}"
        table.add_row(figure.what, spell(figure.measured), against, f"{figure.ratio:.2f}", bound, verdict)
    console.print(table)
    missed = sum(not figure.is_kept for figure in figures)
    bounded = sum(figure.bound is not None for figure in figures)
    console.print(f"{bounded - missed} of {bounded} bounds are kept")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        app()
    except OptimizerError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
