import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import mysql.connector
import pymysql
import pytest
from control_plane.catalog import NOW, complete_sample, fill_catalog
from servers.network import line_to
from sqlalchemy import insert, make_url, text

from optimizer.control_plane import engine as engine_module
from optimizer.control_plane import tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import open_engine, open_engine_from, reading, transaction
from optimizer.control_plane.entities import read_definitions
from optimizer.control_plane.runs import list_runs, require_running
from optimizer.control_plane.schema import migrate
from optimizer.errors import ConfigError, UnavailableError

DRIVERS = ("mysql+pymysql", "mysql+mysqlconnector")
TIMEOUTS = {"mysql+pymysql": "connect_timeout=1&read_timeout=1", "mysql+mysqlconnector": "connection_timeout=1"}


def test_importing_the_control_plane_imports_neither_airflow_nor_a_driver():
    modules = "engine, schema, tables, records, entities, runs, registry, deployments"
    code = f"from optimizer.control_plane import {modules}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"airflow", "pymysql", "mysql.connector", "MySQLdb"} & set(loaded)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_refusing_server_is_named_without_the_password(driver):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    engine = open_engine(f"{driver}://optimizer_app:hidden-word@127.0.0.1:{port}/control")
    with pytest.raises(UnavailableError) as error:
        read_definitions(engine)
    assert f"control plane control on 127.0.0.1:{port}" in str(error.value) and "hidden-word" not in str(error.value)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_silent_server_is_given_up(driver):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        engine = open_engine(f"{driver}://root@127.0.0.1:{port}/control?{TIMEOUTS[driver]}")
        with pytest.raises(UnavailableError, match="does not answer"):
            read_definitions(engine)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_connection_that_is_cut_is_unavailable_once_and_works_again(sql_server, sql_database, driver):
    engine = open_engine(sql_server.url(sql_database, driver=driver))
    with pytest.raises(UnavailableError), transaction(engine) as connection:
        sql_server.execute(f"KILL {connection.scalar(text('SELECT CONNECTION_ID()'))}")
        connection.execute(text("SELECT 1"))
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


CUT_POINTS = 40


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_connection_that_breaks_anywhere_is_unavailable_and_no_error_of_a_driver(sql_server, sql_database, driver):
    engine = open_engine(sql_server.url(sql_database))
    migrate(engine)
    fill_catalog(engine)
    engine.dispose()
    with line_to(sql_server.port) as (port, line):
        url = make_url(sql_server.url(sql_database, driver=driver)).set(port=port)

        def read_and_lock() -> int:
            engine = open_engine(url.render_as_string(hide_password=False))
            try:
                read_definitions(engine)
                with transaction(engine) as connection:
                    connection.execute(text("SELECT entity_id FROM opt_entities FOR UPDATE"))
                return line.said
            finally:
                engine.dispose()

        whole, given_up = read_and_lock(), 0
        for number in range(CUT_POINTS):
            line.after = whole * number // CUT_POINTS
            try:
                read_and_lock()  # a connection that breaks between two uses is replaced unseen
            except UnavailableError as error:
                assert "does not answer" in str(error)
                given_up += 1
        assert given_up > 0.9 * CUT_POINTS


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("password", ["f\u00fcr \u20ac 5", "\u5bc6\u7801", "a@b:c/d"])
def test_a_password_may_have_any_letter(sql_server, sql_database, driver, password):
    sql_server.execute(
        f"CREATE USER lettered@'%' IDENTIFIED BY '{password}'",
        f"GRANT SELECT ON {sql_database}.* TO lettered@'%'",
    )
    engine = open_engine(sql_server.url(sql_database, user="lettered", password=password, driver=driver))
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()
    sql_server.execute("DROP USER lettered@'%'")


def test_a_column_that_no_table_has_may_be_a_missing_migration_or_a_wrong_statement(engine):
    with (
        pytest.raises(
            ConfigError, match=r"no_such_column.*; run `optimizer migrate`.*the statement is wrong: report it"
        ),
        reading(engine) as connection,
    ):
        connection.execute(text("SELECT no_such_column FROM opt_entities"))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_lock_that_is_held_too_long_is_unavailable(sql_server, sql_database, driver):
    engine = open_engine(sql_server.url(sql_database, driver=driver))
    migrate(engine)
    fill_catalog(engine)
    lock = text("SELECT entity_id FROM opt_entities WHERE entity_id = 1 FOR UPDATE")
    with transaction(engine) as holder:
        holder.execute(lock)
        with pytest.raises(UnavailableError, match="does not answer"), transaction(engine) as other:
            other.execute(text("SET innodb_lock_wait_timeout = 1"))
            other.execute(lock)
    engine.dispose()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_denied_login_and_a_missing_database_are_permanent(sql_server, sql_database, driver):
    for url in (
        sql_server.url(sql_database, user="nobody", password="hidden-word", driver=driver),
        sql_server.url("no_such_database", driver=driver),
    ):
        with pytest.raises(ConfigError, match="refuses the login") as error:
            read_definitions(open_engine(url))
        assert "hidden-word" not in str(error.value)


def test_missing_tables_are_answered_with_what_to_run(empty_engine):
    with pytest.raises(ConfigError, match=r"(lacks a table|no such table).*run `optimizer migrate`"):
        list_runs(empty_engine)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:hidden-word@db/control",
        "mysql://app:hidden-word@db/control",
        "no url hidden-word",
        "sqlite://",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError) as error:
        open_engine(url)
    assert "hidden-word" not in str(error.value)


def test_an_unknown_dialect_is_refused():
    with pytest.raises(ConfigError, match="'mysql' is not supported"):
        open_engine_from(lambda: None, dialect="mysql")


def test_a_sqlite_file_in_a_missing_directory_is_permanent(tmp_path):
    with pytest.raises(ConfigError, match="cannot be used"):
        list_runs(open_engine(f"sqlite:///{tmp_path}/missing/control.db"))


def test_the_connections_of_a_hook_serve_the_whole_flow_on_sqlite(tmp_path):
    engine = open_engine_from(lambda: sqlite3.connect(tmp_path / "control.db"), dialect="sqlite")
    migrate(engine)
    fill_catalog(engine)
    run_id = complete_sample(engine, "first")
    assert deploy(engine, entity_code="drugs_hcp", split={run_id: 100}, author=Author("promote"), now=NOW)


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_connections_of_a_hook_serve_the_whole_flow_on_mariadb_and_mysql(sql_server, sql_database, driver):
    # As a hook makes them: no driver flags of SQLAlchemy's, and committing by themselves.
    login = {"host": "127.0.0.1", "port": sql_server.port, "user": "root", "database": sql_database}
    connect = pymysql.connect if driver == "mysql+pymysql" else mysql.connector.connect
    engine = open_engine_from(
        lambda: connect(**login, autocommit=True), dialect=driver, name="hook mysql_control_plane"
    )
    migrate(engine)
    fill_catalog(engine)
    run_id = complete_sample(engine, "first")
    assert deploy(engine, entity_code="drugs_hcp", split={run_id: 100}, author=Author("promote"), now=NOW)
    with pytest.raises(RuntimeError), transaction(engine) as connection:
        connection.execute(insert(tables.optimizers).values(opt_code="half", opt_name="half"))
        raise RuntimeError
    with reading(engine) as connection:
        assert connection.scalars(text("SELECT opt_code FROM opt_master")).all() == ["rtb_optimizer"]
        assert connection.scalar(text("SELECT @@time_zone")) == "+00:00"
        assert isolation_of(connection) == "REPEATABLE-READ"
    with transaction(engine) as connection:
        assert isolation_of(connection) == "READ-COMMITTED"
        assert "STRICT_TRANS_TABLES" in connection.scalar(text("SELECT @@sql_mode"))
    engine.dispose()


def isolation_of(connection) -> str:
    """The isolation of the session, whose variable has another name on each server."""
    named = text("SHOW SESSION VARIABLES WHERE variable_name IN ('tx_isolation', 'transaction_isolation')")
    return connection.execute(named).first()[1]


def test_a_second_writer_of_a_sqlite_file_waits_while_readers_go_on(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/control.db")
    migrate(engine)
    fill_catalog(engine)
    with ThreadPoolExecutor(1) as pool:
        with transaction(engine) as connection:
            connection.execute(text("UPDATE opt_entities SET entity_name = 'held'"))
            second = pool.submit(complete_sample, engine, "second")
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
            assert list_runs(engine) == []
        assert second.result(timeout=60) == list_runs(engine)[0].run_id


def test_a_sqlite_file_that_is_locked_too_long_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "SQLITE_BUSY_TIMEOUT_MS", 100)
    engine = open_engine(f"sqlite:///{tmp_path}/control.db")
    migrate(engine)
    with transaction(engine), pytest.raises(UnavailableError, match=r"control\.db does not answer"):
        require_running(engine, "any", now=NOW)
