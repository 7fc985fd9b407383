"""The SQL of a migration, from include/sql/postgres/migrations/."""

from pathlib import Path

from alembic import op

VERSION_TABLE = "optimization_schema_version"

_FOLDER = Path(__file__).resolve().parents[4] / "include" / "sql" / "postgres" / "migrations"


def run_script(name: str) -> None:
    """Run the statements of <name>.sql as they stand: no placeholders, percent signs are themselves."""
    connection = op.get_bind().execution_options(no_parameters=True)
    connection.exec_driver_sql((_FOLDER / f"{name}.sql").read_text())
