"""The statements of include/sql/snowflake, by name."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from optimizer.core.landscape.grain import FINEST, Grain
from optimizer.errors import WarehouseError
from optimizer.sql_files import sql_folder

SQL_FOLDER = sql_folder("snowflake")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,254}")
_environment = Environment(  # noqa: S701 - SQL, not HTML; values are bound, identifiers are checked below
    loader=FileSystemLoader(SQL_FOLDER), undefined=StrictUndefined
)


def render_query(
    name: str,
    *,
    features: Sequence[str] = (),
    shadow_percents: Sequence[int] = (),
    block_hours: int | None = None,
    cells: Sequence[tuple[Sequence[str], Grain]] = (),
    bids_columns: Collection[str] = (),
    starts: Mapping[int, datetime] | None = None,
) -> str:
    """Return include/sql/snowflake/<name>.sql with the feature columns in place; values stay bind parameters.

    Args:
        cells: features and grain of the cells that are read or counted; the finest by `features` by default.
        bids_columns: the optional columns that BIDS has (`contract.render_for` finds out).
        starts: {object_id: when its window begins, UTC}, where those of several objects differ.

    Raises:
        WarehouseError: a feature is not a plain column name.
    """
    for feature in (*features, *(feature for own, _ in cells for feature in own)):
        if not _IDENTIFIER.fullmatch(feature):
            raise WarehouseError(f"feature_name={feature!r} is not a column name; fix its row in opt_feature_macros")
    return _environment.get_template(f"{name}.sql").render(
        features=list(features),
        shadow_percents=[int(percent) for percent in shadow_percents],
        block_hours=None if block_hours is None else int(block_hours),
        cells=[(list(own), grain) for own, grain in cells or [(features, FINEST)]],
        bids_columns=frozenset(bids_columns),
        starts={int(object_id): warehouse_time(start) for object_id, start in (starts or {}).items()},
    )


def warehouse_time(moment: datetime) -> str:
    """Return a UTC moment as the warehouse's timestamps are: UTC, without a zone."""
    return moment.replace(tzinfo=None).isoformat(sep=" ")
