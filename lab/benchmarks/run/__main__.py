"""`python -m lab.benchmarks.run`: what a run costs beyond its work; status 1 where a bound is missed."""

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from lab.benchmarks.printing import conclude, telling
from lab.benchmarks.run.extraction import measure_fetch, measure_memory
from lab.benchmarks.run.walls import ENTITY, log_window, measure_walls, running_stack
from optimizer.control_plane.entities import read_definition
from optimizer.presentation.commands import reporting_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@partial(reporting_errors, status=2)
def run(
    bids: Annotated[int, typer.Option(min=1, help="Bids of the log.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of run, bare DAG and work; the best of each counts.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Extractions and fetches, in turns; the best counts.")] = 5,
) -> None:
    """Run an entity and a bare DAG through Airflow, and the work alone, and print each figure next to its bound."""
    with telling() as tell, TemporaryDirectory(prefix="optimizer-bench-") as name:
        folder = Path(name)
        tell("starting Airflow")
        with running_stack(folder, bids=bids) as (stack, engine):
            walls = measure_walls(stack, rounds=rounds, tell=tell)
            tell("extractions and fetches")
            window = log_window(read_definition(engine, ENTITY).entity.object_id)
            figures = walls.figures(bids=bids)
            figures += measure_fetch(stack.connect_warehouse, folder, window=window, repeats=repeats)
            engine.dispose()
        tell("the memory of an extraction")
        figures += measure_memory(folder)
    sys.exit(conclude(figures, console=Console(), title="What a run costs beyond its work"))


if __name__ == "__main__":
    app()
