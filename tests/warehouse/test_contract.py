"""What the warehouse must hold, and what is said where it does not."""

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import snowflake.connector
from control_plane.statements import split_statements
from servers.embedded import closed_port, connect_schema, load_events
from warehouse.reference import END, FEATURES, START, WINDOW

from lab.market.tables import Events
from lab.stack import LocalStack
from lab.stack.environment import warehouse_connection
from optimizer.errors import EmptyWindowError, UnavailableError, WarehouseError
from optimizer.warehouse.contract import OPTIONAL_COLUMNS, check_contract
from optimizer.warehouse.extraction import extract_npi_totals, extract_segment_cells, read_totals
from optimizer.warehouse.failures import warehouse_errors
from optimizer.warehouse.live_totals import read_live_totals
from optimizer.warehouse.queries import SQL_FOLDER

INJECTIONS = ("os_code; DROP TABLE BIDS", "os_code --", '"os_code"', "1", "os_code, npi", "(SELECT 1)", "")


def test_the_candidates_are_the_macros_that_are_columns_of_bids_in_their_order(connection: Any):
    named = ["os_code", "no_such_column", "GEO_REGION_NAME", "browser_code"]
    assert check_contract(connection, features=named) == ("os_code", "GEO_REGION_NAME", "browser_code")


@pytest.mark.parametrize("column", ["npi", "bid_id", "run_id", "bid_cpm", "NPI", "privacy", "is_test"])
def test_a_column_that_says_who_when_or_how_much_is_never_a_candidate(connection: Any, column: str):
    assert check_contract(connection, features=["os_code", column]) == ("os_code",)


def test_a_log_without_the_columns_of_privacy_and_tests_is_read_as_one_that_has_none(
    connection: Any, log: Events, systems: LocalStack, tmp_path: Path
):
    bids = log.bids.filter(pc.field("bid_id").isin(["a test", "restricted", "no test"]))
    with connect_schema(systems, "old_log") as old, old.cursor() as cursor:
        load_events(old, replace(log, bids=bids), folder=tmp_path)
        present = extract_npi_totals(old, window=WINDOW, path=tmp_path / "new.parquet"), read_totals(old, window=WINDOW)
        for column in OPTIONAL_COLUMNS:
            cursor.execute(f"ALTER TABLE BIDS DROP COLUMN {column}")
        absent = extract_npi_totals(old, window=WINDOW, path=tmp_path / "old.parquet"), read_totals(old, window=WINDOW)
        assert check_contract(old, features=["os_code"]) == ("os_code",)
        read_live_totals(old, window=WINDOW)
        cursor.execute("DROP SCHEMA old_log")
    assert [(npis, totals.bid_rows) for npis, totals in (present, absent)] == [(1, 2), (2, 3)]


def test_no_candidate_at_all_is_an_error_that_names_the_features_and_the_table_of_macros(connection: Any):
    with pytest.raises(WarehouseError, match=r"none of the features planet, npi is .* BIDS; see opt_feature_macros"):
        check_contract(connection, features=["planet", "npi"])


def test_missing_tables_and_columns_are_all_named_in_one_message(empty_schema: Any):
    empty_schema.execute("CREATE TABLE bids (bid_id VARCHAR, bid_ts TIMESTAMP_NTZ, object_id INTEGER, npi VARCHAR)")
    empty_schema.execute("CREATE TABLE views (bid_id VARCHAR, view_ts TIMESTAMP_NTZ, cost_cpm FLOAT)")
    with pytest.raises(WarehouseError) as raised:
        check_contract(empty_schema.connection, features=["os_code"])
    wanted = ["table CLICKS", "column BIDS.run_id", "column BIDS.bid_cpm", "column VIEWS.revenue", "tables.sql"]
    assert [text for text in wanted if text not in str(raised.value)] == []
    assert "BIDS.bid_id" not in str(raised.value)


def test_a_table_that_vanishes_is_named_and_not_retried(empty_schema: Any, tmp_path: Path):
    with pytest.raises(WarehouseError, match=r"(?is)counting the window's events.*BIDS.*check the tables"):
        read_totals(empty_schema.connection, window=WINDOW)


def test_an_empty_window_names_the_client_the_window_and_the_next_step(connection: Any):
    nobody = replace(WINDOW, object_id=999)
    with pytest.raises(EmptyWindowError) as raised:
        read_totals(connection, window=nobody)
    assert "object_id 999 in [2026-01-06 00:00, 2026-01-10 00:00) UTC (0 zero bids)" in str(raised.value)
    assert "check the entity's object_id" in str(raised.value)


def test_a_window_of_zero_bids_alone_is_empty_and_says_how_many(connection: Any):
    noon = START + timedelta(hours=12)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO BIDS (bid_id, bid_ts, object_id, bid_cpm) VALUES ('z1', %s, 777, 0), ('z2', %s, 777, 0)",
            (noon.replace(tzinfo=None).isoformat(sep=" "),) * 2,
        )
    with pytest.raises(EmptyWindowError, match=r"object_id 777 .*\(2 zero bids\)"):
        read_totals(connection, window=replace(WINDOW, object_id=777, data_end_at=END))


@pytest.mark.parametrize("feature", INJECTIONS)
def test_a_feature_that_is_not_a_column_name_is_refused_before_anything_is_sent(
    connection: Any, tmp_path: Path, feature: str
):
    with pytest.raises(WarehouseError, match="is not a column name; fix its row in opt_feature_macros"):
        extract_segment_cells(connection, window=WINDOW, features=[FEATURES[0], feature], path=tmp_path / "c.parquet")
    assert read_totals(connection, window=WINDOW).usable_bids > 0


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"user": "SOMEBODY"}])
def test_a_denied_login_names_the_connection_and_is_not_retried(systems: LocalStack, wrong: dict[str, str]):
    with (
        pytest.raises(WarehouseError, match=r"denied the login.*Airflow connection optimizer_warehouse") as raised,
        warehouse_errors("connecting to the warehouse"),
    ):
        snowflake.connector.connect(**login(systems) | wrong)
    assert login(systems)["password"] not in str(raised.value)


def test_a_silent_warehouse_is_unavailable_soon(systems: LocalStack):
    begun = time.monotonic()
    with (
        pytest.raises(UnavailableError, match="connecting to the warehouse: the warehouse did not answer"),
        warehouse_errors("connecting to the warehouse"),
    ):
        snowflake.connector.connect(**login(systems) | {"port": closed_port(), "login_timeout": 3})
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "BIDS ALTER bid_ts TYPE TIMESTAMPTZ",
            "BIDS.bid_ts is TIMESTAMP_TZ, whose days are not UTC's; give the optimizer",
        ),
        ("CLICKS ALTER click_ts TYPE VARCHAR", "CLICKS.click_ts is TEXT, whose days are not UTC's"),
        (
            "VIEWS ALTER cost_cpm TYPE VARCHAR",
            "VIEWS.cost_cpm is TEXT and not a number; give the optimizer a view with",
        ),
    ],
)
def test_a_column_of_a_type_that_cannot_be_read_is_refused_by_name(empty_schema: Any, change: str, said: str):
    for statement in split_statements((SQL_FOLDER / "tables.sql").read_text()):
        empty_schema.execute(statement)
    table, _, rest = change.partition(" ALTER ")
    column, _, data_type = rest.partition(" TYPE ")
    empty_schema.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    empty_schema.execute(f"ALTER TABLE {table} ADD COLUMN {column} {data_type}")
    with pytest.raises(WarehouseError, match="has columns that cannot be read as they are") as raised:
        check_contract(empty_schema.connection, features=["os_code"])
    assert said in str(raised.value)


@pytest.mark.parametrize("number", ["NaN", "inf", "-inf"])
@pytest.mark.parametrize(
    "place", ["BIDS.bid_cpm", "BIDS.floor_cpm", "VIEWS.cost_cpm", "VIEWS.revenue", "CLICKS.revenue"]
)
def test_a_number_that_is_nan_or_infinite_is_refused_by_column_and_count(empty_schema: Any, number: str, place: str):
    for statement in split_statements((SQL_FOLDER / "tables.sql").read_text()):
        empty_schema.execute(statement)
    moment = f"{WINDOW.data_start_at:%Y-%m-%d} 12:00:00"
    for bid in ("a", "b", "c"):
        empty_schema.execute(
            "INSERT INTO BIDS (bid_id, bid_ts, object_id, bid_cpm, floor_cpm) "
            f"SELECT '{bid}', '{moment}', {WINDOW.object_id}, 2.5, 0.5"
        )
        empty_schema.execute(f"INSERT INTO VIEWS SELECT '{bid}', '{moment}', 2.0, 0.01")
        empty_schema.execute(f"INSERT INTO CLICKS SELECT '{bid}', '{moment}', 1.0")
    assert read_totals(empty_schema.connection, window=WINDOW).usable_bids == 3
    table, column = place.split(".")
    empty_schema.execute(f"UPDATE {table} SET {column} = '{number}'::FLOAT WHERE bid_id IN ('a', 'b')")
    with pytest.raises(
        WarehouseError, match=rf"is NaN or infinite in the window of object_id \d+ .*: {place} in 2 rows;"
    ):
        read_totals(empty_schema.connection, window=WINDOW)


def login(systems: LocalStack) -> dict[str, Any]:
    """Return the arguments that Airflow's SnowflakeHook would hand to the connector."""
    described = warehouse_connection(systems.settings)
    extra = {name: value for name, value in described["extra"].items() if name != "insecure_mode"}
    account = {"user": described["login"], "password": described["password"], "schema": described["schema"]}
    return {**account, **extra, "disable_ocsp_checks": True, "no_proxy": "localhost", "login_timeout": 20}
