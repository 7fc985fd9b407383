"""`watch`: a run while it works."""

import json
import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from optimization_tracking.client import TrackingClient
from optimization_tracking.commands import list_options
from optimization_tracking.models.runs import TRANSITIONS, Run
from optimizer.presentation.formats import one_line
from optimizer.presentation.terminal import console, format_value

PLANNED = "plannedIterations"
"""The key in a run's metadata that says how many iterations it means to make."""


def watch(
    run: list_options.RunName,
    every_s: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two requests.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON at each change.")] = False,
) -> None:
    """Follow a run to its end; the exit status is 0 where it is completed."""
    with list_options.connect() as client:
        found = list_options.find_run(client, run)
        follow = _draw if console.is_terminal and not as_json else _print
        ended = follow(client, found, every_s=every_s, **({} if follow is _draw else {"as_json": as_json}))
    raise typer.Exit(0 if ended.status == "completed" else 1)


def _print(client: TrackingClient, run: Run, *, every_s: float, as_json: bool) -> Run:
    """Print a line at each change, until the run has ended."""
    last = None
    while True:
        if (seen := (run.status, run.iterations, run.best_score)) != last:
            last = seen
            names = {"run_name", "status", "iterations", "best_score", "samples_evaluated", "updated_at"}
            print(json.dumps(run.model_dump(mode="json", include=names)) if as_json else _line(run), flush=True)
        if not TRANSITIONS[run.status]:
            return run
        time.sleep(every_s)
        run = client.read_run(run.id, include_iterations=False)


def _draw(client: TrackingClient, run: Run, *, every_s: float) -> Run:
    """Draw a bar that moves with the run, until it has ended."""
    progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = progress.add_task(escape(one_line(run.run_name)), total=run.metadata.get(PLANNED))
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            _move(progress, bar, run)
            live.update(Group(progress, Text(_line(run))))
            if not TRANSITIONS[run.status]:
                return run
            time.sleep(every_s)
            run = client.read_run(run.id, include_iterations=False)


def _move(progress: Progress, bar: TaskID, run: Run) -> None:
    progress.update(bar, completed=run.iterations, total=run.metadata.get(PLANNED))


def _line(run: Run) -> str:
    planned = run.metadata.get(PLANNED)
    of = f" of {planned:,}" if isinstance(planned, int) else ""
    error = f": {run.error_message}" if run.error_message else ""
    best = format_value(run.best_score)
    return one_line(f"{run.run_name}: {run.status}, {run.iterations:,}{of} iterations, best score {best}{error}")
