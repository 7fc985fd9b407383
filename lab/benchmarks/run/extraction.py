"""An extraction against the connector's own Arrow fetch of the same query, and its memory as the result grows."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lab.benchmarks.figures import Figure
from lab.evaluation.log import CANDIDATES
from optimizer.warehouse.extraction import Window, extract_segment_cells

MAX_TIMES_OF_FETCH = 1.2
MAX_MEMORY_GROWTH = 1.1
BATCH_ROWS = 50_000
FEW_BATCHES, MANY_BATCHES = 5, 50


def measure_fetch(connect: Callable[[], Any], folder: Path, *, window: Window, repeats: int) -> list[Figure]:
    """Return what writing a window's cells takes against fetching them alone, both on the clock, in turns.

    The warehouse is another process, so the wall has what the query takes there; the best of each counts.
    """
    best: dict[str, float] = {}
    with closing(connect()) as connection:
        heard = _Listening(connection)
        options = {"window": window, "features": CANDIDATES, "path": folder / "cells.parquet"}
        extract_segment_cells(heard, **options)
        actions: dict[str, Callable[[], int]] = {
            "fetch": lambda: _fetch(connection, *heard.last),
            "extract": lambda: extract_segment_cells(connection, **options),
        }
        for _ in range(repeats):
            for name, action in actions.items():
                started = time.perf_counter()
                rows = action()
                best[name] = min(best.get(name, float("inf")), time.perf_counter() - started)
    against = "the connector's Arrow fetch of the query"
    return [Figure(f"extraction of {rows:,} cells", best["extract"], best["fetch"], against, "s", MAX_TIMES_OF_FETCH)]


def measure_memory(folder: Path) -> list[Figure]:
    """Return the Arrow memory of an extraction of many batches against that of a few."""
    many, few = (_peak_bytes(folder, batches) / 2**20 for batches in (MANY_BATCHES, FEW_BATCHES))
    what = f"Arrow memory of {MANY_BATCHES} batches of {BATCH_ROWS:,} cells"
    return [Figure(what, many, few, f"that of {FEW_BATCHES} batches", "MiB", MAX_MEMORY_GROWTH)]


@dataclass(slots=True)
class _Listening:
    """A connection that knows the last statement of its cursors, with what was bound."""

    connection: Any
    last: tuple[Any, ...] = ()

    def cursor(self) -> Any:
        cursor = self.connection.cursor()
        execute = cursor.execute

        def listen(*statement: Any) -> Any:
            self.last = statement
            return execute(*statement)

        cursor.execute = listen
        return cursor


def _fetch(connection: Any, *statement: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        return sum(batch.num_rows for batch in cursor.fetch_arrow_batches())


def _peak_bytes(folder: Path, batches: int) -> int:
    """The most that Arrow holds while that many batches are written, beyond what it held before."""
    session, before = _Batches(batches), pa.total_allocated_bytes()
    window = Window(1, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    rows = extract_segment_cells(session, window=window, features=CANDIDATES, path=folder / "batches.parquet")
    if rows != batches * BATCH_ROWS:
        raise RuntimeError(f"{rows:,} cells were written of {batches * BATCH_ROWS:,}")
    return session.peak_bytes - before


@dataclass(slots=True)
class _Batches:
    """A session of a warehouse that makes each batch of a result when it is fetched, as Snowflake sends them."""

    batches: int
    peak_bytes: int = field(default=0)

    def cursor(self) -> "_Batches":
        return self

    def __enter__(self) -> "_Batches":
        return self

    def __exit__(self, *_: object) -> None: ...

    def execute(self, query: str, binds: object = None) -> "_Batches":
        return self

    def fetchall(self) -> list[tuple[str, str, str]]:
        return []

    def fetch_arrow_batches(self) -> Iterator[pa.Table]:
        for seed in range(self.batches):
            yield _batch(np.random.default_rng(seed))
            self.peak_bytes = max(self.peak_bytes, pa.total_allocated_bytes())


def _batch(random: np.random.Generator) -> pa.Table:
    texts = {name.upper(): pa.array(random.integers(0, 500, BATCH_ROWS)).cast(pa.string()) for name in CANDIDATES}
    days = pa.array(random.integers(20_000, 20_060, BATCH_ROWS), pa.int32()).cast(pa.date32())
    counts = ("PRICE_BUCKET", "BASE_PRICE_BUCKET", "BIDS", "WINS", "CLICKS")
    sums = ("BID_CPM_SUM", "BASE_BID_CPM_SUM", "COST_CPM_SUM", "VIEW_REVENUE", "CLICK_REVENUE", "FLOOR_CPM_MAX")
    return pa.table(
        {
            "DAY": days,
            **texts,
            "RUN_ID": pa.nulls(BATCH_ROWS, pa.string()),
            **{name: pa.array(random.integers(0, 100, BATCH_ROWS)) for name in counts},
            **{name: pa.array(random.random(BATCH_ROWS)) for name in sums},
        }
    )
