"""`python -m lab.benchmarks.console`: what the console's pages cost on MariaDB; status 1 where a bound is missed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from lab.benchmarks.console.fleet import BUCKET, Fleet, fill
from lab.benchmarks.console.pages import Pages, figures_of
from lab.benchmarks.console.published import publish_runs
from lab.benchmarks.printing import conclude, telling
from lab.stack import LocalStack
from lab.stack.mariadb import run_mariadb
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.schema import migrate
from optimizer.presentation.commands import reporting_errors

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
BUFFER_MB = 1_024
OBJECTS = "objects"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@partial(reporting_errors, status=2)
def run(
    entities: Annotated[int, typer.Option(min=1, help="Clients.")] = 1_000,
    runs: Annotated[int, typer.Option(min=4, help="Runs of each client.")] = 100,
    days: Annotated[int, typer.Option(min=1, help="Days of figures of each client.")] = 365,
    segments: Annotated[int, typer.Option(min=100, help="Segments of the runs that are read.")] = 100_000,
    repeats: Annotated[int, typer.Option(min=20, help="Requests for each page.")] = 60,
    folder: Annotated[Path | None, typer.Option(help="Where the data are; /dev/shm is memory.")] = None,
) -> None:
    """Fill a control plane on MariaDB with a fleet, ask for every page, and print each figure next to its bound."""
    fleet = Fleet(entities, runs, days, NOW)
    with (
        telling() as tell,
        TemporaryDirectory(prefix="optimizer-bench-", dir=folder) as name,
        run_mariadb(_folder(name, "mariadb"), buffer_mb=BUFFER_MB) as server,
        server.database() as database,
        _object_store(_folder(name, "stack")) as store,
    ):
        engine = open_engine(server.url(database))
        migrate(engine)
        tell(f"writing {entities:,} clients with {entities * runs:,} runs and {entities * days:,} days")
        fill(engine, fleet)
        tell("asking for the pages of the fleet")
        pages = Pages(engine, store, fleet, repeats)
        costs = pages.measure()
        tell(f"publishing runs of {segments:,} segments")
        published = publish_runs(engine, store, fleet, segments=segments)
        tell("asking for the pages of the runs")
        costs += pages.measure_runs(published)
        engine.dispose()
    title = f"Console: {entities:,} clients, {entities * runs:,} runs, {days} days, {segments:,} segments"
    sys.exit(conclude(figures_of(costs, segments=segments), console=Console(), title=title))


def _folder(parent: str, name: str) -> Path:
    folder = Path(parent) / name
    folder.mkdir()
    return folder


@contextmanager
def _object_store(folder: Path) -> Iterator[ObjectStore]:
    stack = LocalStack.open(folder)
    try:
        stack.start(OBJECTS)
        stack.wait_ready()
        stack.ensure_bucket(BUCKET)
        yield ObjectStore(stack.connect_objects())
    finally:
        stack.stop()


if __name__ == "__main__":
    app()
