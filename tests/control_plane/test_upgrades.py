"""A release works on the tables of the next one: a migration adds, and takes nothing away."""

from typing import Any

import pytest
from control_plane.catalog import NOW, complete_sample, fill_catalog
from sqlalchemy import Engine, inspect

from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.schema import current_revision, head_revision, migrate, revert
from optimizer.control_plane.tables import VERSION_TABLE
from optimizer.errors import ConfigError

EARLIER = [f"{number:04}" for number in range(1, int(head_revision()))]


def test_the_newest_tables_have_all_that_earlier_releases_read_and_ask_nothing_more_of_their_inserts(
    empty_engine: Engine,
):
    migrate(empty_engine)
    newest = read_tables(empty_engine)
    for revision in reversed(EARLIER):
        revert(empty_engine, revision=revision)
        earlier = read_tables(empty_engine)
        assert set(earlier) <= set(newest), revision
        for table, columns in earlier.items():
            assert {name: newest[table].get(name) for name in columns} == columns, (revision, table)
            added = [column for name, column in newest[table].items() if name not in columns]
            without_value = [column for column in added if not (column["nullable"] or column["default"])]
            assert without_value == [], (revision, table)


def test_a_migration_that_was_interrupted_says_to_restore_the_backup(empty_engine: Engine):
    migrate(empty_engine)
    revert(empty_engine, revision="0004")
    half = "ALTER TABLE opt_deployments ADD COLUMN source VARCHAR(20) DEFAULT 'manual'"
    with transaction(empty_engine) as connection:
        connection.exec_driver_sql(half)
    with pytest.raises(ConfigError, match=r"(?i)from revision 0004: .*duplicate column.*; .* restore the backup"):
        migrate(empty_engine)
    with transaction(empty_engine) as connection:
        connection.exec_driver_sql("ALTER TABLE opt_deployments DROP COLUMN source")
    assert migrate(empty_engine) == head_revision()


def test_tables_of_a_newer_release_are_left_alone(empty_engine: Engine):
    migrate(empty_engine)
    with transaction(empty_engine) as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for change in (migrate, lambda engine: revert(engine, revision="0004")):
        with pytest.raises(ConfigError, match="revision 9999"):
            change(empty_engine)
    assert current_revision(empty_engine) == "9999"


def test_a_live_split_survives_the_way_back_and_forth(empty_engine: Engine):
    migrate(empty_engine)
    fill_catalog(empty_engine)
    run_id = complete_sample(empty_engine, "first")
    deploy(empty_engine, entity_code="drugs_hcp", split={run_id: 100}, author=Author("anna"), now=NOW)
    revert(empty_engine, revision="0004")
    migrate(empty_engine)
    with reading(empty_engine) as connection:
        rows = connection.exec_driver_sql("SELECT run_id, traffic_pct, is_active FROM opt_deployments").all()
    assert [tuple(row) for row in rows] == [(run_id, 100, 1)]


def read_tables(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return {table: {column: its type, whether it may be NULL, and its default}}."""
    with reading(engine) as connection:
        found = inspect(connection)
        return {
            table: {
                column["name"]: {
                    "type": str(column["type"]),
                    "nullable": column["nullable"],
                    "default": "computed" in column or column["default"],  # SQLite misreads the formula
                }
                for column in found.get_columns(table)
            }
            for table in found.get_table_names()
            if table != VERSION_TABLE
        }
