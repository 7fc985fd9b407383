"""`python -m lab.benchmarks.fleet`: what a thousand entities and more cost; status 1 where a bound is missed."""

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy import Engine

from lab.benchmarks.console.fleet import BUCKET, Fleet, fill, fill_entities
from lab.benchmarks.figures import Figure
from lab.benchmarks.fleet.commands import command_figures, measure_commands, publish_manifests
from lab.benchmarks.fleet.monitoring import measure_monitor
from lab.benchmarks.fleet.parsing import Parser, parse_figures, shard_figures, task_figure
from lab.benchmarks.printing import conclude, telling
from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.schema import migrate
from optimizer.presentation.commands import reporting_errors

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
FEW_RUNS = 4

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@partial(reporting_errors, status=2)
def run(
    entities: Annotated[int, typer.Option(min=1, help="Entities of one DAG file.")] = 1_000,
    runs: Annotated[int, typer.Option(min=FEW_RUNS, help="Runs of each of them.")] = 100,
    many: Annotated[int, typer.Option(min=1, help="Entities of several DAG files.")] = 5_000,
    parts: Annotated[int, typer.Option(min=1, help="How many DAG files.")] = 5,
    watched: Annotated[int, typer.Option(min=1, help="Entities that `monitor` looks at.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="How often each is measured; the least counts.")] = 3,
    folder: Annotated[Path | None, typer.Option(help="Where the data are; /dev/shm is memory.")] = None,
) -> None:
    """Read the DAG files of a fleet as Airflow does, run the commands, and print each figure next to its bound."""
    with telling() as tell, TemporaryDirectory(prefix="optimizer-bench-", dir=folder) as name:
        tell(f"writing {entities:,} entities with {entities * runs:,} runs")
        engine = make_fleet(Path(name) / "one", entities=entities, runs=runs)
        tell("reading their DAG file")
        figures = parsed_figures(Path(name) / "one", entities=entities, repeats=repeats)
        tell("running the commands")
        figures += run_figures(engine, Path(name) / "stack", repeats=repeats)
        tell(f"writing {many:,} entities")
        make_fleet(Path(name) / "many", entities=many, runs=0).dispose()
        tell(f"reading their {parts} DAG files")
        figures += sharded_figures(Path(name) / "many", entities=many, parts=parts, repeats=repeats)
        engine.dispose()
        figures += measure_monitor(Path(name) / "watched", entities=watched, now=NOW, tell=tell).figures()
    title = f"Fleet: {entities:,} entities with {entities * runs:,} runs, and {many:,} in {parts} DAG files, on SQLite"
    sys.exit(conclude(figures, console=Console(), title=title))


def make_fleet(folder: Path, *, entities: int, runs: int) -> Engine:
    """Return a control plane with the fleet, or its entities alone without runs, in a SQLite file of the new folder."""
    folder.mkdir()
    engine = open_engine(f"sqlite:///{_database(folder)}")
    migrate(engine)
    (fill if runs else fill_entities)(engine, Fleet(entities, runs, days=1, now=NOW))
    return engine


def parsed_figures(folder: Path, *, entities: int, repeats: int) -> list[Figure]:
    """Return what one DAG file of all entities costs, and the same file in a task."""
    parser = Parser(folder, _database(folder), repeats)
    ours = parser.entities()
    figures = parse_figures(ours, parser.bare(dags=ours.dags, tasks=ours.tasks // ours.dags))
    return [*figures, task_figure(parser.in_task(_one_of(entities)), entities=entities)]


def sharded_figures(folder: Path, *, entities: int, parts: int, repeats: int) -> list[Figure]:
    """Return what the DAG files of the parts cost, and one of all of them in a task."""
    parser = Parser(folder, _database(folder), repeats)
    shards = [parser.shard(number, parts) for number in range(1, parts + 1)]
    return [*shard_figures(shards), task_figure(parser.in_task(_one_of(entities)), entities=entities)]


def run_figures(engine: Engine, home: Path, *, repeats: int) -> list[Figure]:
    """Return what the commands cost, with an object store that has the manifests of the fleet's runs."""
    home.mkdir()
    stack = LocalStack.open(home)
    with stack.serving("objects"):
        stack.ensure_bucket(BUCKET)
        publish_manifests(engine, ObjectStore(stack.connect_objects()))
        return command_figures(measure_commands(engine, stack.settings, repeats=repeats))


def _database(folder: Path) -> Path:
    return folder / "control_plane.db"


def _one_of(entities: int) -> str:
    return Fleet(entities, FEW_RUNS, 1, NOW).codes()[entities // 2]


if __name__ == "__main__":
    app()
