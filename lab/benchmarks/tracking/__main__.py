"""`python -m lab.benchmarks.tracking`: what tracking costs next to its peers; status 1 if a floor is missed."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lab.benchmarks.tracking.clients import measure_client, measure_export
from lab.benchmarks.tracking.lines import AT_LEAST, BenchmarkLine
from lab.benchmarks.tracking.long_runs import measure_long_runs
from lab.benchmarks.tracking.peers import measure_mlflow, measure_optuna
from lab.benchmarks.tracking.ratios import compare_with_mlflow
from lab.benchmarks.tracking.reading import measure_reading
from lab.benchmarks.tracking.recovery import measure_recovery
from lab.benchmarks.tracking.service import run_service
from lab.benchmarks.tracking.writing import measure_writing
from optimizer.presentation.commands import reporting_errors

EXPORTED_AT = 20_000
MLFLOW_RUNS = 200


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: numbers of runs, the rows of long ones, how long Postgres is away, what the client logs."""

    sizes: tuple[int, ...] = (1_000, 20_000, 100_000, 1_000_000)
    iterations: int = 1_000_000
    samples: int = 300_000
    outage_s: float = 70
    entries: int = 20_000


QUICK = Extent(sizes=(1_000, 20_000, 100_000), iterations=100_000, samples=30_000, outage_s=7)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@partial(reporting_errors, status=2)
def run(
    quick: Annotated[bool, typer.Option("--quick", help="Skip the million runs; a tenth of the long run.")] = False,
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of each measurement of a rate.")] = 5,
    repeats: Annotated[int, typer.Option(min=10, help="Repeats of each read.")] = 100,
    uv: Annotated[Path | None, typer.Option(help="Path of uv, to run MLflow; without it, MLflow is skipped.")] = None,
) -> None:
    """Measure tracking and its peers, and print each figure next to its floor and its goal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("starting")
        lines = measure_all(
            QUICK if quick else Extent(),
            seconds=seconds,
            repeats=repeats,
            uv=uv,
            tell=lambda text: progress.update(bar, description=text),
        )
    sys.exit(conclude(lines, console=Console()))


def measure_all(
    extent: Extent, *, seconds: float, repeats: int, uv: Path | None, tell: Callable[[str], None]
) -> list[BenchmarkLine]:
    """Return the lines of every part; `tell` is called with what is being measured."""
    with run_service() as service:
        small = [size for size in extent.sizes if size <= EXPORTED_AT]
        lines = measure_reading(service, sizes=small, repeats=repeats, tell=tell)
        tell("the export")
        lines += measure_export(service)
        lines += measure_reading(
            service,
            sizes=[size for size in extent.sizes if size > EXPORTED_AT],
            repeats=repeats,
            tell=tell,
            filled=small[-1],
        )
        tell("writing")
        lines += measure_writing(service, seconds=seconds)
        tell("the Python client")
        lines += measure_client(service, entries=extent.entries)
        lines += measure_long_runs(
            service, iterations=extent.iterations, samples=extent.samples, repeats=repeats, tell=tell
        )
        tell(f"an outage of Postgres of {extent.outage_s:g} s")
        lines += measure_recovery(service, outage_s=extent.outage_s)
        tell("Optuna")
        lines += measure_optuna(service, seconds=seconds)
        if uv is not None:
            tell("MLflow")
            lines += measure_mlflow(service, uv=uv, runs=MLFLOW_RUNS, seconds=seconds, repeats=repeats)
            lines += compare_with_mlflow(lines)
    return lines


def conclude(lines: Sequence[BenchmarkLine], *, console: Console) -> int:
    """Print the table and return the status: 1 where a floor is missed."""
    table = Table("what", "measured", "floor", "goal", "verdict", title="What tracking costs")
    for line in lines:
        bounds = (_spell(line, bound) for bound in (line.floor, line.goal))
        table.add_row(line.what, f"{line.measured:,.4g} {line.unit}", *bounds, _verdict(line))
    console.print(table)
    floors, goals = ([line for line in lines if getattr(line, name) is not None] for name in ("floor", "goal"))
    kept, reached = sum(line.is_kept for line in floors), sum(line.is_reached for line in goals)
    console.print(f"{kept} of {len(floors)} floors are kept, {reached} of {len(goals)} goals are reached")
    return 0 if kept == len(floors) else 1


def _spell(line: BenchmarkLine, bound: float | None) -> str:
    return "-" if bound is None else f"{'≥' if line.unit in AT_LEAST else '≤'} {bound:,.4g}"


def _verdict(line: BenchmarkLine) -> str:
    if not line.is_kept:
        return "[red]floor missed[/red]"
    if not line.is_reached:
        return "[yellow]goal missed[/yellow]"
    return "-" if line.floor is None and line.goal is None else "kept" if line.goal is None else "reached"


if __name__ == "__main__":
    app()
