"""The SQL that the documents print is the contract with the UI and the bidder: it runs as it stands."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymysql
import pytest
from control_plane.catalog import NOW, fill_catalog
from control_plane.statements import read_printed
from sqlalchemy import insert

from optimizer.control_plane import tables
from optimizer.control_plane.alerts import Incident, record_incidents
from optimizer.control_plane.deployment_history import read_active
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.notifications import Message, claim_messages, mark_sent
from optimizer.control_plane.registry import read_features, read_macro, read_metrics, read_outputs
from optimizer.control_plane.runs import list_runs, list_unclaimed, read_run, read_run_values

FLOW = read_printed("example_flow.sql")
RUN_FLOW = read_printed("run_flow.sql")
RUN_ID, OLDER_RUN_ID = "20260203_150000", "20260201_120000"
ALERTS_PAGE = Path(__file__).parents[2] / "docs/alerts.md"
OUTPUT_PATH = "s3://tn-optimizer-data/optimizer/drugs_hcp/runs/20260203_150000/"


@pytest.fixture
def sql_database(request, sql_server):
    """Return the name of the server's migrated database, whose ids begin at 1 as those of the statements do."""
    database = request.getfixturevalue(f"migrated_{request.node.callspec.params['sql_server']}_database")
    sql_server.empty(database, tables=tables.metadata.tables)
    return database


@pytest.fixture
def engine(sql_server, sql_database):
    engine = open_engine(sql_server.url(sql_database))
    fill_catalog(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def execute(engine, sql_server, sql_database):
    """Return a function that sends a statement as it is printed and returns its rows."""
    login = {"host": "127.0.0.1", "port": sql_server.port, "user": "root", "database": sql_database}
    with pymysql.connect(**login, autocommit=True) as connection, connection.cursor() as cursor:

        def execute(statement: str) -> list[tuple]:
            cursor.execute(statement)
            return list(cursor.fetchall())

        yield execute


def insert_older_run(engine) -> None:
    row = {"run_id": OLDER_RUN_ID, "entity_id": 1, "version_id": 5, "created_at": NOW - timedelta(days=2)}
    with transaction(engine) as connection:
        connection.execute(insert(tables.runs).values(**row, status="completed", validation_status="passed"))


def test_the_ui_creates_a_run(engine, execute):
    path = "s3://tn-optimizer-data/optimizer/drugs_hcp/"
    assert execute(FLOW["ui_reads_entity"]) == [(1, "drugs_hcp", 5, path)]
    configs = {("floor_available", "false"), ("npi_enabled", "true"), ("domain_enabled", "true")}
    assert set(execute(FLOW["ui_reads_entity_configs"])) == configs
    execute(FLOW["ui_inserts_run"])
    execute(FLOW["ui_inserts_run_configs"])
    run = read_run(engine, RUN_ID)
    assert (run.run_code, run.status, run.triggered_by, run.trigger_type) == (
        RUN_ID,
        "pending",
        "gaurav@company.com",
        "manual",
    )
    assert abs(run.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert list_unclaimed(engine) == [run]
    values = {"target_win_rate": "0.65", "max_bid_cpm": "30.00", "exploration_mode": "true"}
    assert read_run_values(engine, RUN_ID) == {**values, "aggressive_exploration": "true"}


def test_the_optimizer_processes_the_run(engine, execute):
    insert_older_run(engine)
    execute(FLOW["ui_inserts_run"])
    execute(FLOW["ui_inserts_run_configs"])
    path = "s3://tn-optimizer-data/optimizer/drugs_hcp/"
    assert execute(FLOW["optimizer_polls_pending"]) == [(RUN_ID, 1, 5, "drugs_hcp", path)]
    assert len(execute(FLOW["optimizer_reads_entity_configs"])) == 3
    assert ("target_win_rate", "0.65", "business") in execute(FLOW["optimizer_reads_run_configs"])
    assert (2, "geo_region_name", "[ADX_GEO_STATE]") in execute(FLOW["optimizer_reads_macros"])
    execute(FLOW["optimizer_starts_run"])
    assert read_run(engine, RUN_ID).status == "running" and execute(FLOW["optimizer_polls_pending"]) == []
    execute(FLOW["optimizer_completes_run"])
    execute(FLOW["optimizer_inserts_features"])
    execute(FLOW["optimizer_inserts_metrics"])
    run = read_run(engine, RUN_ID)
    assert (run.status, run.segments_count, run.s3_output_path) == ("completed", 541, OUTPUT_PATH)
    assert (run.bid_median, run.bid_min, run.bid_max) == (30.0, 19.63, 30.0)
    assert [(row.feature_name, row.is_anchor) for row in read_features(engine, RUN_ID)] == [
        ("geo_region_name", True),
        ("os_code", False),
    ]
    metrics = {row.metric_key: row.metric_value for row in read_metrics(engine, RUN_ID)}
    assert metrics["wr_model_auc"] == 0.6174 and len(metrics) == 5


def test_the_ui_splits_the_traffic_and_the_bidder_reads_it(engine, execute):
    insert_older_run(engine)
    for step in ("ui_inserts_run", "optimizer_starts_run", "optimizer_completes_run", "optimizer_inserts_features"):
        execute(FLOW[step])
    execute(FLOW["optimizer_inserts_metrics"])
    assert [row[0] for row in execute(FLOW["ui_lists_completed"])] == [RUN_ID, OLDER_RUN_ID]
    assert ("wr_model_ece", 0.0226) in execute(FLOW["ui_reads_metrics"])
    assert execute(FLOW["ui_reads_split"]) == []
    for _ in range(2):  # replaced by itself: the same runs are active again
        execute(FLOW["ui_deactivates_split"])
        execute(FLOW["ui_inserts_split"])
    assert set(execute(FLOW["ui_reads_split"])) == {(RUN_ID, 80), (OLDER_RUN_ID, 20)}
    rows = {row[1]: row[2:] for row in execute(FLOW["bidder_reads_deployments"])}
    assert rows == {RUN_ID: (80, OUTPUT_PATH, "drugs_hcp"), OLDER_RUN_ID: (20, None, "drugs_hcp")}
    assert execute(FLOW["bidder_reads_features"]) == [
        ("geo_region_name", 1, "[ADX_GEO_STATE]"),
        ("os_code", 2, "[ADX_USER_OS]"),
    ]
    assert [row.traffic_pct for row in read_active(engine, "drugs_hcp")] == [80, 20]


def test_the_older_run_flow_is_written_and_read(engine, execute):
    row = {"run_id": "47", "run_code": "20260128_090000", "entity_id": 2, "version_id": 3, "status": "queued"}
    with transaction(engine) as connection:
        connection.execute(insert(tables.runs).values(**row, triggered_by="cron"))
    assert read_run(engine, "47").status == "pending"
    for statement in RUN_FLOW.values():
        execute(statement)
    (run,) = list_runs(engine, entity_code="drugs_com")
    assert (run.status, run.total_segments, run.segments_in_memcache) == ("completed", 1454, 93)
    assert [feature.signal_score for feature in read_features(engine, "47")] == [999.0, 184.0, 78.2]
    assert [output.row_count for output in read_outputs(engine, "47")] == [93]
    assert read_macro(engine, "47").macro_format == "adx"
    assert read_definition(engine, "drugs_com").entity.active_run_id == "47"


def test_the_runbooks_find_clients_without_runs_and_messages_that_did_not_arrive(engine, execute):
    without_runs, not_sent = re.findall(r"^```sql\n(.*?)^```", ALERTS_PAGE.read_text(), re.MULTILINE | re.DOTALL)
    insert_older_run(engine)
    for completed_at, found in (("'2026-02-01 12:00:00'", ["drugs_com", "drugs_hcp"]), ("NOW()", ["drugs_com"])):
        execute(f"UPDATE opt_runs SET completed_at = {completed_at} WHERE run_id = '{OLDER_RUN_ID}'")
        assert sorted(row[0] for row in execute(without_runs)) == found
    record_incidents(engine, 1, [Incident("no_bids", "none")], kinds=["no_bids"], now=NOW)
    choose = lambda alerts, sent: [Message(alert, "opened", "slack") for alert in alerts]  # noqa: E731
    (message,) = claim_messages(engine, "drugs_hcp", choose=choose, now=NOW)
    assert [row[:5] for row in execute(not_sent)] == [("drugs_hcp", "no_bids", "opened", "slack", 1)]
    mark_sent(engine, message, now=NOW)
    assert execute(not_sent) == []


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("optimizer_polls_pending", "ix_opt_runs_status_created_at"),
        ("ui_lists_completed", "ix_opt_runs_entity_id_status_validation_status_created_at"),
        ("ui_reads_split", "ix_opt_deployments_entity_id_is_active"),
        ("ui_reads_metrics", "uq_opt_run_metrics_run_id_metric_section_metric_key"),
        ("bidder_reads_features", "uq_opt_run_features_run_id_feature_order"),
    ],
)
def test_each_printed_query_has_an_index_to_use(engine, execute, statement, index):
    ((version,),) = execute("SELECT VERSION()")
    as_table = "" if "MariaDB" in version else "FORMAT=TRADITIONAL"  # MySQL 9 draws a tree without the possible keys
    assert any(index in str(row) for row in execute(f"EXPLAIN {as_table} {FLOW[statement]}"))
