"""`python -m lab.benchmarks.logs.client HOME MAX_CELLS BIDS`: one run within MAX_CELLS in a process of its own.

It writes its bids to the file BIDS (Parquet) and prints the cells that it read, how fine they were, its features and
its own peak memory as one line of JSON.
"""

import json
import sys
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from optimizer.training import libraries  # noqa: F401  # before LightGBM, as the training process does

# isort: split
from lab.benchmarks.client import peak_bytes
from lab.benchmarks.extracting import open_window
from lab.benchmarks.market import SETTINGS, create_world
from lab.evaluation.log import CANDIDATES, ExtractedLog
from lab.evaluation.trial import run_trial
from lab.stack import LocalStack
from optimizer.core.landscape.grain import LADDER
from optimizer.runs.bounded_cells import SegmentLog, plan_multiplier_cells, plan_segment_cells
from optimizer.warehouse.extraction import extract_domain_cells, extract_npi_totals, read_totals

BID_COLUMNS = ["segment_key", "planned_bid_cpm", "requests"]


def run_client(home: Path, *, max_cells: int, bids: Path) -> dict[str, Any]:
    """Return what one run read and held; its bids are in the file."""
    # Without a daily step, which would hide what moves a bid by more than it allows.
    settings = SETTINGS.model_copy(update={"max_cells": max_cells, "daily_step_limit": 1.0})
    window = open_window(create_world().settings.object_id)
    with closing(LocalStack.open(home).connect_warehouse()) as connection, TemporaryDirectory() as name:
        folder = Path(name)
        log = SegmentLog(connection, window, settings, read_totals(connection, window=window), {})
        plan = plan_segment_cells(log, CANDIDATES, active_key=(), find_plans=_without_plans)
        cells = log.write(folder / "segments.parquet", features=plan.features, grain=plan.grain)
        own = plan_multiplier_cells(log)
        extract_domain_cells(
            connection,
            window=window,
            path=folder / "domains.parquet",
            price_buckets=own.price_buckets,
            max_cells=own.max_cells,
        )
        extract_npi_totals(connection, window=window, path=folder / "npis.parquet", max_cells=own.max_cells)
        tables = (pd.read_parquet(folder / f"{table}.parquet") for table in ("segments", "domains", "npis"))
        extracted = ExtractedLog(*tables, log.totals)
    run = run_trial(extracted, settings=settings, run_id="20260306_060000", candidates=plan.features)
    run.priced.bids[BID_COLUMNS].to_parquet(bids)
    return {
        "cells": cells,
        "finest_cells": plan.finest_cells,
        "grain": LADDER.index(plan.grain),
        "features": run.selection.features,
        "peak_bytes": peak_bytes(),
    }


def _without_plans(cells: pd.DataFrame) -> tuple[pd.DataFrame, Collection[str]]:
    """No run of this optimizer bid in the log."""
    return cells, ()


if __name__ == "__main__":
    home_path, cells_limit, bids_path = sys.argv[1:]
    print(json.dumps(run_client(Path(home_path), max_cells=int(cells_limit), bids=Path(bids_path))))
