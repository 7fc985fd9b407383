"""The SQL of a migration, from include/sql/postgres/migrations/."""

from alembic import op

from optimization_tracking.queries import SQL_FOLDER

VERSION_TABLE = "optimization_schema_version"

_FOLDER = SQL_FOLDER / "migrations"


def run_script(name: str) -> None:
    """Run the statements of <name>.sql as they stand: no placeholders, percent signs are themselves."""
    connection = op.get_bind().execution_options(no_parameters=True)
    connection.exec_driver_sql((_FOLDER / f"{name}.sql").read_text())
