"""`python -m lab.benchmarks.logs`: logs of any size within a number of cells; status 1 where a bound is missed."""

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from lab.benchmarks.logs.growing import measure_logs
from lab.benchmarks.printing import conclude, telling
from optimizer.presentation.commands import reporting_errors

SIZES = (1_000_000, 5_000_000, 20_000_000, 100_000_000)
QUICK_SIZES = SIZES[:2]
MAX_CELLS = 400_000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@partial(reporting_errors, status=2)
def run(
    quick: Annotated[bool, typer.Option("--quick", help="Only logs of 1 and 5 million bids.")] = False,
    largest: Annotated[int, typer.Option(min=1, help="Bids of the largest log; 300 million need 60 GB.")] = SIZES[-1],
    max_cells: Annotated[int, typer.Option(min=10_000, help="The bound.")] = MAX_CELLS,
    folder: Annotated[Path | None, typer.Option(help="Where the log is kept meanwhile; default: in /tmp.")] = None,
) -> None:
    """Measure runs on a growing log and print each figure next to its bound."""
    wanted = QUICK_SIZES if quick else sorted({*(size for size in SIZES if size < largest), largest})
    with telling() as tell, TemporaryDirectory(prefix="optimizer-bench-", dir=folder) as name:
        compared = max(size for size in wanted if size <= 20_000_000)
        figures = measure_logs(Path(name), sizes=wanted, compared=compared, max_cells=max_cells, tell=tell)
    sys.exit(conclude(figures, console=Console(), title="What a log of any size costs"))


if __name__ == "__main__":
    app()
