"""What each run's bids brought, day by day, as the warehouse knows it from BIDS.run_id."""

from typing import Any

import pandas as pd

from optimizer.core.live.performance import SUMS
from optimizer.warehouse.contract import render_for
from optimizer.warehouse.extraction import Window
from optimizer.warehouse.failures import warehouse_errors

COLUMNS = ("day", "run_id", *SUMS)


def read_live_totals(connection: Any, *, window: Window) -> pd.DataFrame:
    """Return the totals with COLUMNS, one row a day (datetime.date) and run; none where no run priced a bid.

    Raises:
        WarehouseError: the warehouse breaks its contract.
        UnavailableError: it does not answer.
    """
    with warehouse_errors("reading what the runs' bids brought"), connection.cursor() as cursor:
        rows = cursor.execute(render_for(connection, "live_totals"), window.binds()).fetchall()
        names = [column.name.lower() for column in cursor.description]
    table = pd.DataFrame([tuple(row) for row in rows], columns=names)[list(COLUMNS)]
    return table.astype(dict.fromkeys(SUMS, float))
