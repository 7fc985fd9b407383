"""What each run's bids brought, day by day, as the warehouse knows it from BIDS.run_id."""

from typing import Any

import pandas as pd

from optimizer.core.live.performance import SUMS
from optimizer.warehouse.contract import render_for
from optimizer.warehouse.extraction import Window, Windows
from optimizer.warehouse.failures import warehouse_errors

COLUMNS = ("day", "run_id", *SUMS)


def read_live_totals(connection: Any, *, window: Window) -> pd.DataFrame:
    """Return the totals with COLUMNS, one row a day (datetime.date) and run; none where no run priced a bid.

    Raises:
        WarehouseError: the warehouse breaks its contract.
        UnavailableError: it does not answer.
    """
    return read_many_live_totals(connection, windows=window.alone())[window.object_id]


def read_many_live_totals(connection: Any, *, windows: Windows) -> dict[int, pd.DataFrame]:
    """Return {object_id: its totals, as of `read_live_totals`} by one query; raises as that."""
    query = render_for(connection, "live_totals", starts=windows.own_starts())
    with warehouse_errors("reading what the runs' bids brought"), connection.cursor() as cursor:
        rows = cursor.execute(query, windows.binds()).fetchall()
        names = [column.name.lower() for column in cursor.description]
    table = pd.DataFrame([tuple(row) for row in rows], columns=names).astype(dict.fromkeys(SUMS, float))
    return {
        object_id: table.loc[table["object_id"] == object_id, list(COLUMNS)].reset_index(drop=True)
        for object_id in windows.starts
    }
