"""Memory as the log grows: a warehouse on disk that is filled part by part, and a run after each size."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.benchmarks.figures import Figure
from lab.benchmarks.market import create_world, generate_parts
from lab.market.world import World
from lab.stack import LocalStack
from lab.stack.event_log import create_tables
from lab.stack.warehouse_loading import load_parquet
from optimizer.errors import UnavailableError

MEBIBYTE = 2**20
PROGRAM_BYTES = 512 * MEBIBYTE
"""What Python, pandas, LightGBM, scipy and the warehouse's driver may take with no cell at all."""

CELL_BYTES = 25 * 8 * 8
"""A cell has at most 25 columns of 8 bytes, and at the worst moment eight copies: sorted, grouped, joined, split."""

MAX_GROWTH_SHARE = 0.5
"""The memory of a run grows at most half as fast as its log."""


@dataclass(frozen=True, slots=True)
class RunMemory:
    """What one run on a log of that many bids read and held."""

    bids: int
    cells: int
    peak_bytes: int


def measure_growth(*, sizes: Sequence[int], tell: Callable[[str], None]) -> list[Figure]:
    """Return cells and peak memory of a run as the log grows through the sizes, in bids and rising.

    Args:
        tell: is called with what is being done.
    """
    with TemporaryDirectory(prefix="optimizer-bench-") as home:
        stack = LocalStack.open(Path(home))
        try:
            stack.start("warehouse")
            stack.wait_ready()
            return figures_of(_run_each(stack, sizes, tell))
        finally:
            stack.stop()


def figures_of(runs: Sequence[RunMemory]) -> list[Figure]:
    """Return the lines of the runs; the first is what the others' growth is held against."""
    first, figures = runs[0], []
    for run in runs:
        budget = (PROGRAM_BYTES + CELL_BYTES * run.cells) / MEBIBYTE
        log = f"{run.bids:,} bids"
        figures.append(Figure(f"cells of {log}", run.cells, run.bids, "the bids", "rows", 1.0))
        against = f"{PROGRAM_BYTES // MEBIBYTE} MiB and {CELL_BYTES:,} bytes a cell"
        figures.append(Figure(f"peak memory of a run on {log}", run.peak_bytes / MEBIBYTE, budget, against, "MiB", 1.0))
        if run is not first:
            growth, log_growth = run.peak_bytes / first.peak_bytes, run.bids / first.bids
            figures.append(Figure(f"growth of that memory since {first.bids:,} bids", growth, log_growth,
                                  "growth of the log", "times", MAX_GROWTH_SHARE))  # fmt: skip
    return figures


def _run_each(stack: LocalStack, sizes: Sequence[int], tell: Callable[[str], None]) -> list[RunMemory]:
    world, runs, loaded = create_world(), [], 0
    for size in sizes:
        _load(stack, world, bids=size - loaded, seed=100 + len(runs), tell=tell)
        loaded = size
        tell(f"a run on {size:,} bids")
        runs.append(RunMemory(size, **_run_client(stack, world.settings.object_id)))
    return runs


def _load(stack: LocalStack, world: World, *, bids: int, seed: int, tell: Callable[[str], None]) -> None:
    """Append that many bids to the warehouse; never more than one part of them is in memory."""
    with closing(stack.connect_warehouse()) as connection, TemporaryDirectory(prefix="optimizer-bench-") as name:
        create_tables(connection)
        done = 0
        for part in generate_parts(world, bids=bids, seed=seed):
            for table, file in part.write_parquet(Path(name)).items():
                load_parquet(connection, table=table.upper(), files=[file])
            done += part.bids.num_rows
            tell(f"loading {done:,} of {bids:,} more bids")


def _run_client(stack: LocalStack, object_id: int) -> dict[str, int]:
    command = [sys.executable, "-m", "lab.benchmarks.client", str(stack.home.path), str(object_id)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise UnavailableError(f"the measured run failed with status {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
