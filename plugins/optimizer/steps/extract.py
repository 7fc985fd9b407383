"""extract: the window's totals and cells, from the warehouse to the run's staging prefix."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pandas as pd

from optimizer.core.frames import rows_of
from optimizer.core.landscape.slope import RANDOMISED_DAYS
from optimizer.core.records import run_files
from optimizer.runs import staging
from optimizer.runs.handle import RunHandle, read_settings, read_snapshot
from optimizer.runs.planned_bids import stage_planned_bids
from optimizer.runs.systems import Systems
from optimizer.warehouse.connection import warehouse_errors
from optimizer.warehouse.contract import check_contract
from optimizer.warehouse.extraction import (
    Window,
    extract_domain_cells,
    extract_npi_totals,
    extract_segment_cells,
    read_totals,
)


def extract(run: RunHandle, *, systems: Systems) -> dict[str, Any]:
    """Leave the window's totals and cells in the staging prefix; return how much was read.

    A run reads the log once: the totals are written last, and a later or parallel try leaves them as they are, so that
    all steps of the run see the same log.

    Raises:
        WarehouseError: login, table or column; EmptyWindowError: no bids in the window.
    """
    stage = run.staging(systems)
    if not stage.has(run_files.TOTALS):
        found = _read_log(read_snapshot(run, systems), systems, stage)
        found["days"] = _daily_counts(stage, found)
        found["earlier_runs"], found["earlier_forecasts"] = stage_planned_bids(
            _runs_that_bid(stage, found), stage=stage, systems=systems
        )
        if not stage.has(run_files.TOTALS):
            stage.put_json(run_files.TOTALS, found)
    totals = stage.get_json(run_files.TOTALS)
    return {"usable_bids": totals["usable_bids"], "rows": totals["rows"]}


def _read_log(snapshot: dict[str, Any], systems: Systems, stage: staging.Staging) -> dict[str, Any]:
    """The totals of the window, with the names of the staged cells; every try has file names of its own."""
    settings, inputs = read_settings(snapshot), snapshot["inputs"]
    window = Window(
        object_id=int(inputs["object_id"]),
        data_start_at=datetime.fromisoformat(inputs["data_start_dt"]),
        data_end_at=datetime.fromisoformat(inputs["data_end_dt"]),
    )
    with warehouse_errors("connecting to the warehouse"):
        connection = systems.connect_warehouse()
    with closing(connection):
        named = [macro["feature_name"] for macro in inputs["feature_macros"]]
        multiplied = {"domain"} if settings.domain_enabled else set()
        features = check_contract(connection, features=[name for name in named if name not in multiplied])
        totals = read_totals(connection, window=window)
        is_second_price = settings.auction_type == "second_price"
        extractions: dict[str, Callable[..., int]] = {
            run_files.SEGMENT_CELLS: partial(
                extract_segment_cells,
                features=features,
                is_second_price=is_second_price,
                block_hours=totals.block_hours,
            )
        }
        if settings.domain_enabled:
            extractions[run_files.DOMAIN_CELLS] = extract_domain_cells
        if settings.npi_enabled:
            extractions[run_files.NPI_TOTALS] = extract_npi_totals
        attempt = uuid4().hex[:12]
        files = {name: f"cells/{attempt}/{name}" for name in extractions}
        rows = {
            name: _stage(stage, files[name], partial(extract_to, connection, window=window))
            for name, extract_to in extractions.items()
        }
    return {**totals.as_dict(), "candidate_features": features, "rows": rows, "files": files}


def _daily_counts(stage: staging.Staging, totals: dict[str, Any]) -> list[dict[str, int]]:
    """Bids and wins of each day with bids, in order."""
    cells = stage.get_frame(totals["files"][run_files.SEGMENT_CELLS], columns=["day", "bids", "wins"])
    days = cells.groupby("day", sort=True)[["bids", "wins"]].sum()
    return [{"bids": int(day.bids), "wins": int(day.wins)} for day in rows_of(days)]


def _runs_that_bid(stage: staging.Staging, totals: dict[str, Any]) -> list[str]:
    """The runs that priced the bids of the latest days, from which the slope is learned."""
    cells = stage.get_frame(totals["files"][run_files.SEGMENT_CELLS], columns=["day", "run_id"])
    day = pd.to_datetime(cells["day"])
    return list(cells.loc[day > day.max() - pd.Timedelta(days=RANDOMISED_DAYS), "run_id"].dropna().unique())


def _stage(stage: staging.Staging, name: str, extract_to: Callable[..., int]) -> int:
    with TemporaryDirectory(prefix="optimizer-") as folder:
        path = Path(folder) / Path(name).name
        rows = extract_to(path=path)
        stage.put_file(name, path)
    return rows
