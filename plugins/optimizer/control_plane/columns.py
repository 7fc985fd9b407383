"""Column types, defaults and options that read the same on SQLite, MariaDB and MySQL."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

# utf8mb4_bin: codes differ by case, as on SQLite, and the collation is known to MariaDB and MySQL alike.
TABLE_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}

Price = sa.Numeric(12, 4, asdecimal=False)
Json = sa.JSON(none_as_null=True)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime in Python, a naive one with microseconds in the table."""

    impl = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the moment as naive UTC.

        Raises:
            ValueError: the datetime has no time zone.
        """
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; pass an aware datetime, e.g. datetime.now(UTC)")
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the moment as aware UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class utc_now(FunctionElement[datetime]):
    """Server default: the moment of the INSERT, in UTC as every session of ours is."""

    inherit_cache = True


class utc_touched(FunctionElement[datetime]):
    """Server default: the moment of the INSERT, on MySQL also of the last UPDATE."""

    inherit_cache = True


class same_as_run_id(FunctionElement[str]):
    """Server default: the row's run_id. SQLite has no such default: there a trigger fills the empty text."""

    inherit_cache = True


@compiles(utc_now)
@compiles(utc_touched)
def _render_now(element: Any, compiler: Any, **_: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(utc_now, "mysql", "mariadb")
def _render_mysql_now(element: Any, compiler: Any, **_: Any) -> str:
    return "CURRENT_TIMESTAMP(6)"


@compiles(utc_touched, "mysql", "mariadb")
def _render_mysql_touched(element: Any, compiler: Any, **_: Any) -> str:
    return "CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"


@compiles(same_as_run_id)
def _render_empty(element: Any, compiler: Any, **_: Any) -> str:
    return "''"


@compiles(same_as_run_id, "mysql", "mariadb")
def _render_run_id(element: Any, compiler: Any, **_: Any) -> str:
    return "(run_id)"


RUN_CODE_TRIGGER = """
CREATE TRIGGER trg_opt_runs_run_code AFTER INSERT ON opt_runs WHEN NEW.run_code = ''
BEGIN
    UPDATE opt_runs SET run_code = NEW.run_id WHERE run_id = NEW.run_id;
END
"""
