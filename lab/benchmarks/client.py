"""`python -m lab.benchmarks.client HOME OBJECT_ID`: a run's extraction and models in a process of their own.

It prints the number of cells and its own peak memory as one line of JSON.
"""

import json
import resource
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from optimizer.training import libraries  # noqa: F401  # before LightGBM, as the training process does

# isort: split
from lab.benchmarks.extracting import open_window
from lab.benchmarks.market import SETTINGS
from lab.evaluation.log import CANDIDATES, ExtractedLog
from lab.evaluation.trial import run_trial
from lab.stack import LocalStack
from optimizer.warehouse.extraction import (
    Window,
    extract_domain_cells,
    extract_npi_totals,
    extract_segment_cells,
    read_totals,
)

_LINUX_STATUS = Path("/proc/self/status")


def run_client(home: Path, *, object_id: int) -> dict[str, int]:
    """Return the cells that one run read, and the most memory that this process had until its bids were ready."""
    log = _extract(home, open_window(object_id))
    run_trial(log, settings=SETTINGS, run_id="20260306_060000")
    return {"cells": len(log.cells), "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had.

    Linux's ru_maxrss counts what the parent held before this program was started, so the kernel's own mark is read.
    """
    if _LINUX_STATUS.exists():
        marks = dict(line.split(":", 1) for line in _LINUX_STATUS.read_text().splitlines())
        return int(marks["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _extract(home: Path, window: Window) -> ExtractedLog:
    with closing(LocalStack.open(home).connect_warehouse()) as connection, TemporaryDirectory() as name:
        folder = Path(name)
        totals = read_totals(connection, window=window)
        extract_segment_cells(connection, window=window, features=CANDIDATES, path=folder / "segments.parquet")
        extract_domain_cells(connection, window=window, path=folder / "domains.parquet")
        extract_npi_totals(connection, window=window, path=folder / "npis.parquet")
        return ExtractedLog(
            *(pd.read_parquet(folder / f"{n}.parquet") for n in ("segments", "domains", "npis")), totals
        )


if __name__ == "__main__":
    print(json.dumps(run_client(Path(sys.argv[1]), object_id=int(sys.argv[2]))))
