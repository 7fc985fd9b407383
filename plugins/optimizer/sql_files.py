"""Where the SQL files are: next to the code in an installed package, in include/sql of a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def sql_folder(system: str) -> Path:
    """Return the folder with the SQL for `mysql`, `postgres` or `snowflake`."""
    packaged = _PACKAGE / "sql" / system
    return packaged if packaged.is_dir() else _PACKAGE.parents[1] / "include" / "sql" / system
