"""`python -m lab.evaluation`: the optimizer against known truth; status 1 where a goal is missed."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lab.evaluation.auction_log import run_auction_log
from lab.evaluation.goals import TrialFigures
from lab.evaluation.live_trials import LIVE_NAMES
from lab.evaluation.saved import SavedTrials
from lab.evaluation.second_trials import SECOND_LOOP_DAYS, SECOND_NAMES
from lab.evaluation.table import lines_of, print_goals, print_methods, print_second
from lab.evaluation.trials import SCENARIO_NAMES, Family, Job
from optimizer.errors import DataError
from optimizer.presentation.commands import reporting_errors

FAMILIES: Mapping[Family, Sequence[str]] = {"first": SCENARIO_NAMES, "second": SECOND_NAMES, "live": LIVE_NAMES}
"""Family of worlds: its scenarios."""

PRINTED_WIDTH = 110
"""Columns of the tables where they are not shown but kept."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@partial(reporting_errors, status=2)
def run(
    data: Annotated[Path | None, typer.Option(help="Your own auction log (CSV), instead of the worlds.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many worlds of each scenario.")] = 20,
    bids: Annotated[int, typer.Option(min=20_000, help="Bids of each log.")] = 300_000,
    family: Annotated[
        Literal["first", "second", "live", "all"], typer.Option(help="Family of worlds; see docs/simulation.md.")
    ] = "all",
    scenario: Annotated[list[str] | None, typer.Option(help="Only these scenarios.")] = None,
    loop_days: Annotated[
        int, typer.Option(min=0, max=14, help="Daily runs of the second family's closed loop; 0: none.")
    ] = SECOND_LOOP_DAYS,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    save: Annotated[
        Path | None,
        typer.Option(help="Add every job's figures to this file (JSON lines) as it ends; what it has is not rerun."),
    ] = None,
) -> None:
    """Run the optimizer on simulated markets and print the results next to the goals."""
    console = Console(width=None if sys.stdout.isatty() else PRINTED_WIDTH)
    if data is not None:
        run_auction_log(data, console=console)
        return
    known = {name: of for of, names_of in FAMILIES.items() if family in (of, "all") for name in names_of}
    names = scenario or list(known)
    if unknown := sorted(set(names) - set(known)):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose among {', '.join(known)}")
    wanted = [Job(name, seed, bids, known[name], loop_days) for name in names for seed in range(1, seeds + 1)]
    trials = run_jobs(wanted, processes=jobs, saved=None if save is None else SavedTrials(save))
    lines = lines_of(trials)
    print_goals(lines, console=console)
    if "steady" in names:
        print_methods(trials, console=console)
    print_second(trials, console=console)
    missed = [line for line in lines if not line.reached.is_met]
    console.print(f"{len(lines) - len(missed)} of {len(lines)} lines are met")
    sys.exit(1 if missed else 0)


def run_jobs(jobs: list[Job], *, processes: int, saved: SavedTrials | None = None) -> list[TrialFigures]:
    """Return the figures of all jobs in the order of the jobs, with progress on standard error.

    Args:
        saved: what it has is not run again; every other job is added to it as it ends.
    Raises:
        DataError: a job found no answer; what is being run is finished and saved, what waits is dropped.
    """
    found = {} if saved is None else saved.read()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers are the parallel part
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    failures: list[DataError] = []
    # A fresh interpreter a worker: LightGBM hangs in a fork of a process that used its threads.
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
    ):
        running = {pool.submit(job.run): job for job in jobs if job not in found}
        bar = progress.add_task("trials", total=len(jobs), completed=len(jobs) - len(running))
        for done in as_completed(running):
            if done.cancelled():
                continue
            job = running[done]
            try:
                found[job] = done.result()
            except DataError as error:
                failures.append(DataError(f"{job.scenario}, seed {job.seed}: {error}"))
                _cancel(running)
                continue
            if saved is not None:
                saved.append(job, found[job])
            progress.advance(bar)
    if failures:
        raise failures[0]
    return [trial for job in jobs for trial in found[job]]


def _cancel(running: dict[Future, Job]) -> None:
    for waiting in running:
        waiting.cancel()


if __name__ == "__main__":
    app()
