"""Rows and groups of a table, whose values are what the table's maker knows them to be.

The stubs of pandas give each value every type that a column may hold, which fits no use of it.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows as named tuples, with the label of each as `Index`."""
    yield from frame.itertuples()


def groups_of(frame: pd.DataFrame, by: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield each value of the column and its rows, in the order of the values."""
    yield from frame.groupby(by, sort=True)
