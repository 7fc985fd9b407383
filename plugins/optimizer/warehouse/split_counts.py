"""How the bids of a window were shared by the runs, as the warehouse counts them; no NPI leaves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optimizer.core.frames import rows_of
from optimizer.warehouse.contract import render_for
from optimizer.warehouse.extraction import Window, Windows
from optimizer.warehouse.failures import warehouse_errors


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """Counts of bids above zero that a run priced.

    Attributes:
        by_day: one row a UTC day and run, with the columns day (datetime.date), run_id and bids.
        by_place: one row a place and run, with the columns dimension, value, run_id and bids.
        named_bids: bids with an NPI by run_id.
        ids: distinct NPIs by run_id, each counted for the run of its first bid.
        largest_id_bids: bids of the NPI that has the most; 0 without NPIs.
    """

    by_day: pd.DataFrame
    by_place: pd.DataFrame
    named_bids: Mapping[str, float]
    ids: Mapping[str, float]
    largest_id_bids: float


def read_split_counts(connection: Any, *, window: Window, place: str) -> SplitCounts:
    """Return the counts of the window.

    Args:
        place: the column of BIDS that says where an impression is, such as internal_adspace_id.

    Raises:
        WarehouseError: the warehouse breaks its contract, or lacks the column.
        UnavailableError: it does not answer.
    """
    return read_many_split_counts(connection, windows=window.alone(), place=place)[window.object_id]


def read_many_split_counts(connection: Any, *, windows: Windows, place: str) -> dict[int, SplitCounts]:
    """Return {object_id: its counts, as of `read_split_counts`} by one query; raises as that."""
    query = render_for(connection, "split_counts", features=[place], starts=windows.own_starts())
    with warehouse_errors("counting the bids by run"), connection.cursor() as cursor:
        rows = cursor.execute(query, windows.binds()).fetchall()
        names = [column.name.lower() for column in cursor.description]
    table = pd.DataFrame([tuple(row) for row in rows], columns=names).rename(columns={"number": "bids"})
    table = table.astype({"bids": float})
    return {object_id: _counts_of(table[table["object_id"] == object_id], place) for object_id in windows.starts}


def _counts_of(table: pd.DataFrame, place: str) -> SplitCounts:
    of = {measure: table[table["measure"] == measure] for measure in ("bids", "place_bids", "named_bids", "ids")}
    places = of["place_bids"].rename(columns={"place": "value"}).assign(dimension=place)
    return SplitCounts(
        by_day=of["bids"][["day", "run_id", "bids"]].reset_index(drop=True),
        by_place=places[["dimension", "value", "run_id", "bids"]].reset_index(drop=True),
        named_bids={row.run_id: row.bids for row in rows_of(of["named_bids"])},
        ids={row.run_id: row.bids for row in rows_of(of["ids"])},
        largest_id_bids=float(table.loc[table["measure"] == "largest_id", "bids"].sum()),
    )
