import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from control_plane.catalog import fill_catalog
from control_plane.statements import split_statements
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from optimizer.control_plane.engine import open_engine, reading, transaction
from optimizer.control_plane.schema import check_schema, current_revision, head_revision, migrate, revert
from optimizer.control_plane.tables import VERSION_TABLE, metadata
from optimizer.errors import ConfigError

SCHEMA_SQL = Path(__file__).parents[2] / "include/sql/mysql/schema.sql"
# Everything about tables that MariaDB knows, without the name of the database and the order of creation.
FACTS = {
    "columns": """SELECT table_name, column_name, column_default, is_nullable, column_type, collation_name, column_key,
                  extra, generation_expression FROM information_schema.columns WHERE table_schema = DATABASE()""",
    "indexes": """SELECT table_name, index_name, non_unique, seq_in_index, column_name
                  FROM information_schema.statistics WHERE table_schema = DATABASE()""",
    "foreign keys": """SELECT k.table_name, k.constraint_name, k.ordinal_position, k.column_name,
                       k.referenced_table_name, k.referenced_column_name, r.update_rule, r.delete_rule
                       FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
                       ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
                       WHERE k.table_schema = DATABASE()""",
    "checks": """SELECT t.table_name, c.constraint_name, c.check_clause FROM information_schema.check_constraints c
                 JOIN information_schema.table_constraints t ON t.constraint_schema = c.constraint_schema
                 AND t.constraint_name = c.constraint_name WHERE c.constraint_schema = DATABASE()""",
    "tables": """SELECT table_name, engine, table_collation FROM information_schema.tables
                 WHERE table_schema = DATABASE()""",
}


def read_facts(engine) -> dict[str, list[tuple]]:
    with reading(engine) as connection:
        return {name: sorted(map(repr, connection.execute(text(sql)))) for name, sql in FACTS.items()}


def test_migrations_go_up_down_to_nothing_and_up_again(empty_engine):
    assert migrate(empty_engine) == current_revision(empty_engine) == head_revision()
    revert(empty_engine, revision="base")
    assert inspect(empty_engine).get_table_names() == [VERSION_TABLE]
    assert migrate(empty_engine) == head_revision()
    assert set(inspect(empty_engine).get_table_names()) == {VERSION_TABLE, *metadata.tables}


def test_an_older_database_with_rows_in_it_is_migrated(engine):
    revert(engine, revision="0001")
    with pytest.raises(ConfigError, match=f"is at revision 0001, {head_revision()} is needed; run `optimizer migrate`"):
        check_schema(engine)
    migrate(engine)
    check_schema(engine)
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM opt_entity_configs")) == 3
        assert connection.scalar(text("SELECT COUNT(*) FROM opt_entities")) == 2


def test_runs_that_were_validated_before_have_no_number_of_warnings(engine):
    revert(engine, revision="0003")
    insert_run(engine, "old")
    migrate(engine)
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT validation_warnings FROM opt_runs")) is None
        assert connection.scalar(text("SELECT run_code FROM opt_runs")) == "old"


def test_the_migrations_make_the_tables_that_the_code_declares(empty_engine):
    migrate(empty_engine)
    with reading(empty_engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        checks = {name: inspect(connection).get_check_constraints(name) for name in metadata.tables}
    names = {check["name"] for found in checks.values() for check in found}
    assert {
        "ck_opt_runs_status",
        "ck_opt_runs_window",
        "ck_opt_deployments_traffic_pct",
        "ck_opt_entities_status",
    } <= names


def test_the_declared_tables_work_without_migrations_too(empty_engine):
    metadata.create_all(empty_engine)
    fill_catalog(empty_engine)
    insert_run(empty_engine, "by hand")
    with reading(empty_engine) as connection:
        assert connection.scalar(text("SELECT run_code FROM opt_runs")) == "by hand"


def test_the_schema_file_makes_what_the_migrations_make(sql_server):
    with sql_server.database() as by_file, sql_server.database() as by_migrations:
        sql_server.execute(*split_statements(SCHEMA_SQL.read_text(encoding="utf-8")), database=by_file)
        engines = [open_engine(sql_server.url(name)) for name in (by_file, by_migrations)]
        migrate(engines[1])
        facts = [read_facts(engine) for engine in engines]
        for name in FACTS:
            assert facts[0][name] == facts[1][name], name
        check_schema(engines[0])
        for engine in engines:
            engine.dispose()


def test_the_schema_file_explains_every_table():
    lines = SCHEMA_SQL.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match("CREATE TABLE", line):
            assert lines[number - 1].startswith("-- "), line


def test_missing_and_newer_tables_are_distinguished(empty_engine):
    with pytest.raises(ConfigError, match=r"has no tables yet.*run `optimizer migrate`"):
        check_schema(empty_engine)
    migrate(empty_engine)
    with transaction(empty_engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for action in (check_schema, migrate, lambda engine: revert(engine, revision="0004")):
        with pytest.raises(ConfigError, match="is at revision 9999, newer than this code; update the package"):
            action(empty_engine)
    assert current_revision(empty_engine) == "9999"


def test_processes_that_migrate_at_once_do_not_disturb_each_other(empty_url):
    def migrate_once(_: int) -> str:
        engine = open_engine(empty_url)
        try:
            return migrate(engine)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(migrate_once, range(4))) == {head_revision()}


def insert_run(engine, run_id: str) -> None:
    with transaction(engine) as connection:
        row = {"run_id": run_id}
        connection.execute(text("INSERT INTO opt_runs (run_id, entity_id, version_id) VALUES (:run_id, 1, 5)"), row)


ACCEPTED_BY_NO_DATABASE = """
INSERT INTO opt_runs (run_id, entity_id, version_id, status) VALUES ('new', 1, 5, 'paused')
INSERT INTO opt_runs (run_id, entity_id, version_id, validation_status) VALUES ('new', 1, 5, 'maybe')
INSERT INTO opt_runs (run_id, entity_id, version_id, run_code) VALUES ('new', 1, 5, 'there')
INSERT INTO opt_runs (run_id, entity_id, version_id) VALUES ('there', 2, 5)
INSERT INTO opt_runs (run_id, entity_id, version_id) VALUES ('new', 99, 5)
UPDATE opt_runs SET data_start_dt = '2026-01-02 00:00:00', data_end_dt = '2026-01-01 00:00:00'
INSERT INTO opt_deployments (run_id, entity_id, traffic_pct) VALUES ('there', 1, 101)
INSERT INTO opt_deployments (run_id, entity_id, traffic_pct) VALUES ('there', 1, -1)
INSERT INTO opt_deployments (run_id, entity_id, traffic_pct, is_active) VALUES ('there', 1, 50, 2)
INSERT INTO opt_run_metrics (run_id, metric_key, metric_section) VALUES ('there', 'a', 'b'), ('there', 'a', 'b')
INSERT INTO opt_run_features (run_id, feature_name, feature_order) VALUES ('there', 'a', 1), ('there', 'b', 1)
INSERT INTO opt_run_features (run_id, feature_name, feature_order, macro_id) VALUES ('there', 'a', 1, 99)
INSERT INTO opt_entity_configs (entity_id, config_key, config_value) VALUES (1, 'npi_enabled', 'false')
UPDATE opt_entities SET entity_code = 'drugs_com' WHERE entity_id = 1
UPDATE opt_entities SET status = 'X'
DELETE FROM opt_versions WHERE version_id = 5
"""


def test_rows_that_break_the_rules_are_refused_by_the_database(engine):
    insert_run(engine, "there")
    for statement in ACCEPTED_BY_NO_DATABASE.strip().splitlines():
        refusal = pytest.raises(DBAPIError, match=r"(?i)constraint|duplicate")
        with refusal, transaction(engine) as connection:
            connection.execute(text(statement))
            pytest.fail(f"accepted: {statement}")
