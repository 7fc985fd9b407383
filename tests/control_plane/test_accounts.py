"""Each account can do its part of the flow, and nothing that the access table does not give it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from control_plane.catalog import NOW, complete_sample, fill_catalog, open_sample, sample_results, start_sample
from control_plane.databases import DRIVERS
from control_plane.statements import read_printed, split_statements
from servers.mariadb import SqlServer
from sqlalchemy import Engine, text

from optimizer.control_plane import live_records
from optimizer.control_plane.alerts import Incident, record_incidents
from optimizer.control_plane.audit import Author, read_audit, system
from optimizer.control_plane.bidder_counts import HourCount, read_counts, remove_counts, write_counts
from optimizer.control_plane.canary_splits import start_canary
from optimizer.control_plane.claims import claim_runs
from optimizer.control_plane.deployment_history import read_active, read_history
from optimizer.control_plane.deployments import deploy, promote, set_control
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.entities import read_definition, read_definitions
from optimizer.control_plane.entity_values import change_values
from optimizer.control_plane.live_rows import LiveDay, LiveVerdict
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.registry import (
    read_features,
    read_macro,
    read_metrics,
    read_outputs,
    register_results,
)
from optimizer.control_plane.rollbacks import rollback
from optimizer.control_plane.runs import adopt_run, fail_run, list_runs, list_unclaimed, read_run_values, request_run
from optimizer.control_plane.schema import check_schema, migrate
from optimizer.control_plane.serving import read_served
from optimizer.control_plane.serving_snapshots import confirm_snapshot, list_behind, plan_snapshot
from optimizer.control_plane.splits import percents_of
from optimizer.control_plane.tables import metadata
from optimizer.core.live.canary_plan import read_plan
from optimizer.errors import ConfigError, PromotionRefused

FLOW = read_printed("example_flow.sql")
GRANTS_SQL = Path(__file__).parents[2] / "include/sql/mysql/grants.sql"
ACCOUNTS = ("optimizer_ui", "optimizer_app", "optimizer_console", "optimizer_bidder")
RUN_ID = "20260203_150000"


FORBIDDEN = {
    "optimizer_ui": (
        "UPDATE opt_entities SET status = 'I'",
        "INSERT INTO opt_entity_configs (entity_id, config_key, config_value) VALUES (1, 'a', 'b')",
        "SELECT * FROM opt_run_configs",
        "UPDATE opt_run_configs SET config_value = '1'",
        "SELECT * FROM opt_feature_macros",
        "INSERT INTO opt_run_metrics (run_id, metric_key, metric_section) VALUES ('r', 'a', 'b')",
        "DELETE FROM opt_runs",
        "DELETE FROM opt_deployments",
    ),
    "optimizer_app": (
        "UPDATE opt_entities SET status = 'I'",
        "UPDATE opt_entities SET s3_base_path = ''",
        "UPDATE opt_entity_configs SET config_value = '1'",
        "UPDATE opt_version_configs SET default_value = '1'",
        "INSERT INTO opt_run_configs (run_id, config_key, config_value) VALUES ('r', 'a', 'b')",
        "SELECT metric_value FROM opt_run_metrics",
        "UPDATE opt_feature_macros SET status = 'I'",
        "DELETE FROM opt_runs",
        "DELETE FROM opt_deployments",
        "DROP TABLE opt_run_outputs",
    ),
    "optimizer_console": (
        "UPDATE opt_entities SET status = 'I'",
        "UPDATE opt_entities SET s3_base_path = ''",
        "UPDATE opt_version_configs SET default_value = '1'",
        "UPDATE opt_feature_macros SET status = 'I'",
        "INSERT INTO opt_run_metrics (run_id, metric_key, metric_section) VALUES ('r', 'a', 'b')",
        "UPDATE opt_live_daily SET bids = 1",
        "DELETE FROM opt_runs",
        "DELETE FROM opt_deployments",
        "UPDATE opt_audit SET actor = 'x'",
        "DELETE FROM opt_audit",
    ),
    "optimizer_bidder": (
        "UPDATE opt_deployments SET traffic_pct = 1",
        "SELECT * FROM opt_master",
        "SELECT * FROM opt_versions",
        "SELECT * FROM opt_entity_configs",
        "SELECT * FROM opt_run_configs",
        "SELECT * FROM opt_run_metrics",
        "UPDATE opt_runs SET status = 'failed'",
        "DELETE FROM opt_bidder_counts",
        "SELECT * FROM opt_serving_snapshots",
    ),
}


@pytest.fixture(scope="module", params=DRIVERS)
def granted(request: pytest.FixtureRequest) -> Iterator[tuple[SqlServer, str, str]]:
    """Return a server, a migrated database of it with the accounts and their grants, and the driver that reaches it."""
    server: SqlServer = request.getfixturevalue(f"{request.param}_server")
    with server.database() as database:
        root = open_engine(server.url(database))
        migrate(root)
        root.dispose()
        server.execute(*(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'test only'" for name in ACCOUNTS))
        server.execute(*split_statements(GRANTS_SQL.read_text(encoding="utf-8")), database=database)
        yield server, database, DRIVERS[request.param]
        server.execute(*(f"DROP USER '{name}'@'%'" for name in ACCOUNTS))


@pytest.fixture
def engines(granted: tuple[SqlServer, str, str]) -> Iterator[dict[str, Engine]]:
    """Return {account: engine}, and root's, of the database with the catalog in it."""
    server, database, driver = granted
    server.empty(database, tables=metadata.tables)
    root = open_engine(server.url(database, driver=driver))
    fill_catalog(root)
    login = {"password": "test only", "driver": driver}
    opened = {"root": root, **{name: open_engine(server.url(database, user=name, **login)) for name in ACCOUNTS}}
    yield opened
    for engine in opened.values():
        engine.dispose()


def test_each_account_runs_its_printed_statements(engines):
    complete_sample(engines["root"], "older", now=NOW - timedelta(days=2, hours=3))
    for name, statement in FLOW.items():
        account, _, _ = name.partition("_")
        engine = engines[{"ui": "optimizer_ui", "optimizer": "optimizer_app", "bidder": "optimizer_bidder"}[account]]
        with transaction(engine) as connection:
            connection.exec_driver_sql(statement)
    assert len(read_active(engines["optimizer_bidder"], "drugs_hcp")) == 2


def test_the_optimizer_lives_through_a_whole_run_with_its_rights(engines):
    app = engines["optimizer_app"]
    check_schema(app)
    assert read_definition(app, "drugs_hcp") in read_definitions(app)[0]
    run_id = complete_sample(app, "first")
    assert deploy(app, entity_code="drugs_hcp", split={run_id: 100}, author=Author("promote"), now=NOW)
    second = complete_sample(app, "second")
    assert deploy(app, entity_code="drugs_hcp", split={run_id: 50, second: 50}, author=Author("promote"), now=NOW)
    assert read_features(app, run_id) and read_outputs(app, run_id) and read_macro(app, run_id)
    assert fail_run(app, open_sample(app, "third").run_id, message="stopped", now=NOW)
    assert len(read_history(app, "drugs_hcp")) == 3 and len(list_runs(app)) == 3


def test_the_optimizer_promotes_by_itself_with_its_rights_and_gives_way_to_a_user(engines):
    app = engines["optimizer_app"]
    by_itself = {"entity_code": "drugs_hcp", "author": system("optimize__drugs_hcp")}
    first, second = complete_sample(app, "first"), complete_sample(app, "second")
    assert promote(app, Promotion(first), now=NOW, **by_itself)
    moment = NOW + timedelta(minutes=1)
    deploy(app, entity_code="drugs_hcp", split={first: 60, second: 40}, author=Author("sara@company.com"), now=moment)
    with pytest.raises(PromotionRefused, match=r"sara@company\.com deployed"):
        promote(app, Promotion(second), now=moment, **by_itself)


def test_the_monitor_writes_what_it_measured_with_the_optimizers_rights(engines):
    app, root = engines["optimizer_app"], engines["root"]
    run_id = complete_sample(app, "first")
    for wins in (30, 31):
        days = [LiveDay(run_id=run_id, day=NOW.date(), bids=100, wins=wins, clicks=1)]
        verdicts = [LiveVerdict(run_id=run_id, compared_with="forecast", figure="cpm", verdict="on target", days=wins)]
        live_records.replace_days(app, 1, days, now=NOW)
        live_records.replace_verdicts(app, 1, verdicts, measured_on=NOW.date(), now=NOW)
        live_records.replace_savings(app, 1, [], now=NOW)
        assert live_records.read_days(root, "drugs_hcp") == days
        assert live_records.read_verdicts(root, "drugs_hcp") == verdicts
    changes = record_incidents(app, 1, [Incident("no_bids", "none", run_id)], kinds=["no_bids"], now=NOW)
    assert [alert.message for alert in changes.opened] == ["none"]
    assert [alert.kind for alert in record_incidents(app, 1, [], kinds=["no_bids"], now=NOW).closed] == ["no_bids"]


def test_the_optimizer_rolls_back_and_tries_a_run_with_its_rights(engines):
    app = engines["optimizer_app"]
    first, second = complete_sample(app, "first"), complete_sample(app, "second", now=NOW + timedelta(minutes=1))
    deploy(app, entity_code="drugs_hcp", split={first: 100}, author=Author("promote"), now=NOW)
    tried = start_canary(
        app, Promotion(second), entity_code="drugs_hcp", canary_plan=read_plan("10"), now=NOW + timedelta(hours=1)
    )
    assert percents_of(tried) == {first: 90, second: 10}
    back = rollback(app, entity_code="drugs_hcp", author=Author("ben"), now=NOW + timedelta(hours=2))
    assert percents_of(back) == {first: 100}


def test_the_optimizer_takes_a_run_of_the_ui_with_its_rights(engines):
    app = engines["optimizer_app"]
    for name in ("ui_inserts_run", "ui_inserts_run_configs"):
        with transaction(engines["optimizer_ui"]) as connection:
            connection.exec_driver_sql(FLOW[name])
    (run,) = list_unclaimed(app)
    assert claim_runs(app, {run.run_id: "optimize__drugs_hcp"}, now=NOW) == [run.run_id]
    adopt_run(app, run.run_id, entity_id=1, dag_id="optimize__drugs_hcp", dag_run_id=f"ui__{run.run_id}")
    assert read_run_values(app, run.run_id)["target_win_rate"] == "0.65"
    start_sample(app, run.run_id)
    assert register_results(app, run.run_id, results=sample_results(), now=NOW).status == "completed"


def test_the_console_changes_config_starts_runs_and_sets_the_split_with_its_rights(engines):
    console, root = engines["optimizer_console"], engines["root"]
    check_schema(console)
    by = {"author": Author("anna", comment="why"), "now": NOW}
    for value in ("0.4", "0.5", None):
        changes = {"target_win_rate": value}
        kept = change_values(console, "drugs_hcp", changes, seen=None, check=lambda definition: None, **by)
        assert (kept["target_win_rate"].config_value if "target_win_rate" in kept else None) == value
    run = request_run(console, read_definition(console, "drugs_hcp"), values={"target_win_rate": "0.35"}, **by)
    assert read_run_values(engines["optimizer_app"], run.run_id) == {"target_win_rate": "0.35"}
    first, second = complete_sample(root, "first"), complete_sample(root, "second", now=NOW + timedelta(minutes=1))
    for split in ({first: 100}, {first: 80, second: 20}):
        assert percents_of(deploy(console, entity_code="drugs_hcp", split=split, **by)) == split
    assert percents_of(rollback(console, entity_code="drugs_hcp", **by)) == {first: 100}
    set_control(console, entity_code="drugs_hcp", run_id=second, **by)
    assert read_metrics(console, first) and read_outputs(console, first) and len(read_audit(console, "drugs_hcp")) == 8


def test_the_bidder_reads_what_it_serves_with_its_rights(engines):
    run_id = complete_sample(engines["root"], "first")
    deploy(engines["root"], entity_code="drugs_hcp", split={run_id: 100}, author=Author("test"), now=NOW)
    (entity,) = read_served(engines["optimizer_bidder"], ["drugs_hcp"])
    (run,) = entity.runs
    assert (run.run_id, run.traffic_pct, run.status, run.validation_status) == (run_id, 100, "completed", "passed")
    parts = [(part.feature_name, part.macro_template) for part in run.key_parts]
    assert parts == [("geo_region_name", "[ADX_GEO_STATE]"), ("os_code", "[ADX_USER_OS]")]
    assert run.s3_output_path == sample_results().s3_output_path


def test_the_bidder_writes_its_counts_and_the_optimizer_removes_old_ones_with_their_rights(engines):
    hour = NOW.replace(minute=0)
    for impressions in (5, 8):
        counts = [HourCount("drugs_hcp", hour, "r1", "segment", impressions)]
        write_counts(engines["optimizer_bidder"], "a", counts, now=NOW)
    read = {"since": hour, "until": hour + timedelta(hours=1)}
    assert [row.impressions for row in read_counts(engines["optimizer_console"], "drugs_hcp", **read)] == [8]
    assert remove_counts(engines["optimizer_app"], before=hour + timedelta(hours=1)) == 1


@pytest.mark.parametrize("account", ["optimizer_app", "optimizer_console"])
def test_who_changes_a_split_writes_its_snapshot_with_its_rights(engines, account):
    engine, run_id = engines[account], complete_sample(engines["root"], "first")
    deploy(engine, entity_code="drugs_hcp", split={run_id: 100}, author=Author("test"), now=NOW)
    for again in (False, True):
        planned = plan_snapshot(engine, "drugs_hcp", again=again)
        assert planned is not None and confirm_snapshot(engine, planned, now=NOW)
    assert list_behind(engine) == []


def test_the_ui_shows_a_run_with_its_rights(engines):
    run_id = complete_sample(engines["root"], "first")
    ui = engines["optimizer_ui"]
    assert (
        read_metrics(ui, run_id) and read_features(ui, run_id) and read_outputs(ui, run_id) and read_macro(ui, run_id)
    )
    assert list_runs(ui, entity_code="drugs_hcp") and read_history(ui, "drugs_hcp") == []


@pytest.mark.parametrize("account", ACCOUNTS)
def test_what_the_access_table_does_not_give_is_denied(engines, account):
    for statement in FORBIDDEN[account]:
        denial = pytest.raises(ConfigError, match=r"forbids the statement.*grants\.sql")
        with denial, transaction(engines[account]) as connection:
            connection.execute(text(statement))
            pytest.fail(f"allowed: {statement}")
