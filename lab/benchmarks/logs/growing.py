"""Runs on a log that grows on disk: what each reads and holds, and how far the bound moves its bids."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from lab.benchmarks.figures import Figure
from lab.benchmarks.growing import MEBIBYTE
from lab.benchmarks.logs.generating import append_log
from lab.benchmarks.market import create_world
from lab.market.world import World
from lab.stack import LocalStack
from lab.stack.environment import WAREHOUSE_DATABASE, WAREHOUSE_SCHEMA
from lab.stack.event_log import create_tables
from optimizer.core.landscape.grain import LADDER
from optimizer.errors import UnavailableError

MAX_GROWTH = 1.3
"""The memory of a run is flat: this many times that on the smallest log, at most."""

MAX_CHANGE = 0.01
"""The bound moves bids by this share at most, in the mean over requests."""

UNBOUNDED = 50_000_000
"""The largest max_cells."""

_GENERATOR_MEMORY = "4GB"


@dataclass(frozen=True, slots=True)
class BoundedRun:
    """What one run on a log of that many bids read and held.

    finest_cells: cells of the log on the finest grain; grain: the number of the grain that was read.
    planned_cpm: planned bid by segment key, CPM; requests: expected of each key.
    """

    bids: int
    cells: int
    finest_cells: int
    grain: int
    features: tuple[str, ...]
    peak_bytes: int
    planned_cpm: pd.Series
    requests: pd.Series


def measure_logs(
    folder: Path, *, sizes: Sequence[int], compared: int, max_cells: int, tell: Callable[[str], None]
) -> list[Figure]:
    """Return cells and peak memory of runs within `max_cells` on logs of the sizes, in bids and rising.

    Args:
        compared: the size at which a run without a bound is compared.
        tell: is called with what is being done.
    """
    stack, world, runs, loaded, unbounded = LocalStack.open(folder / "stack"), create_world(), [], 0, None
    with stack.serving("warehouse"), closing(stack.connect_warehouse()) as connection:
        create_tables(connection)
    for size in sizes:
        tell(f"drawing {size - loaded:,} more bids")
        _append(stack, world, bids=size - loaded, first_id=loaded, seed=100 + len(runs))
        loaded = size
        with stack.serving("warehouse"):
            tell(f"a run on {size:,} bids")
            runs.append(_run(stack, folder, bids=size, max_cells=max_cells))
            if size == compared:
                tell(f"a run on {size:,} bids without a bound")
                unbounded = _run(stack, folder, bids=size, max_cells=UNBOUNDED)
    return figures_of(runs, max_cells=max_cells, unbounded=unbounded)


def figures_of(runs: Sequence[BoundedRun], *, max_cells: int, unbounded: BoundedRun | None) -> list[Figure]:
    """Return the lines of the runs; the first is what the others' memory is held against."""
    first, figures = runs[0], []
    for run in runs:
        log, peak = f"{run.bids:,} bids", run.peak_bytes / MEBIBYTE
        grain = LADDER[run.grain].price_buckets
        read = f"cells of {log}, of {run.finest_cells:,}; price buckets: {grain}"
        figures.append(Figure(read, run.cells, max_cells, "max_cells", "rows", 1.0))
        against = f"that on {first.bids:,} bids"
        bound = None if run is first else MAX_GROWTH
        figures.append(Figure(f"peak memory on {log}", peak, first.peak_bytes / MEBIBYTE, against, "MiB", bound))
    if unbounded is not None:
        bounded = next(run for run in runs if run.bids == unbounded.bids)
        figures += _compared(bounded, unbounded)
    return figures


def _compared(bounded: BoundedRun, unbounded: BoundedRun) -> list[Figure]:
    log, against = f"{bounded.bids:,} bids", f"without a bound, {unbounded.cells:,} cells"
    keys = unbounded.planned_cpm.index
    change = np.log(bounded.planned_cpm.reindex(keys) / unbounded.planned_cpm).abs()
    requests = unbounded.requests.reindex(keys)
    # A key that is only in one of the two runs has no bid to compare: it counts as moved.
    moved = change.fillna(np.inf) > MAX_CHANGE
    mean = float(np.average(change.fillna(1.0), weights=requests))
    share = float(requests[moved].sum() / requests.sum())
    memory = bounded.peak_bytes / MEBIBYTE, unbounded.peak_bytes / MEBIBYTE
    return [
        Figure(f"peak memory on {log}", *memory, against, "MiB"),
        Figure(f"mean change of a bid on {log}", mean, MAX_CHANGE, f"1 % of the bid {against}", "points", 1.0),
        Figure(f"requests of {log} whose bid moves by more than 1 %", share, 0.05, "5 % of them", "points", 1.0),
    ]


def _append(stack: LocalStack, world: World, *, bids: int, first_id: int, seed: int) -> None:
    """Append to the warehouse's file, which nothing else may have open meanwhile."""
    path = stack.home.warehouse / f"{WAREHOUSE_DATABASE}.db"
    with duckdb.connect(str(path), config={"memory_limit": _GENERATOR_MEMORY}) as database:
        database.execute("SET preserve_insertion_order = false").fetchall()
        database.execute(f"USE {WAREHOUSE_DATABASE}.{WAREHOUSE_SCHEMA}").fetchall()
        append_log(database, world, bids=bids, first_id=first_id, seed=seed)


def _run(stack: LocalStack, folder: Path, *, bids: int, max_cells: int) -> BoundedRun:
    file = folder / "bids.parquet"
    command = [sys.executable, "-m", "lab.benchmarks.logs.client", str(stack.home.path), str(max_cells), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise UnavailableError(f"the measured run failed with status {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    table = pd.read_parquet(file).set_index("segment_key")
    return BoundedRun(
        bids=bids,
        cells=found["cells"],
        finest_cells=found["finest_cells"],
        grain=found["grain"],
        features=tuple(found["features"]),
        peak_bytes=found["peak_bytes"],
        planned_cpm=table["planned_bid_cpm"],
        requests=table["requests"],
    )
