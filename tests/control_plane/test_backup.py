"""A backup that is taken and restored as docs/backup.md says, with the programs of each database."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from control_plane.catalog import NOW, complete_sample, fill_catalog, open_sample, start_sample
from control_plane.databases import DRIVERS
from control_plane.statements import read_printed, split_statements
from control_plane.test_accounts import ACCOUNTS, GRANTS_SQL
from servers.memory import memory_folder
from sqlalchemy import Engine, select, text

from lab.stack.mariadb import run_mariadb
from lab.stack.mysql import UNPACKED, run_mysql
from lab.stack.sql_server import SqlServer
from optimizer.control_plane import live_records
from optimizer.control_plane.alerts import Incident, read_open, record_incidents
from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.bidder_counts import HourCount, write_counts
from optimizer.control_plane.canary_splits import start_canary
from optimizer.control_plane.deployment_history import read_active
from optimizer.control_plane.deployments import deploy, set_control
from optimizer.control_plane.engine import open_engine, reading, transaction
from optimizer.control_plane.live_rows import LiveDay
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.rollbacks import rollback
from optimizer.control_plane.runs import list_runs, read_run
from optimizer.control_plane.schema import check_schema, migrate
from optimizer.control_plane.serving_snapshots import confirm_snapshot, plan_snapshot
from optimizer.control_plane.splits import percents_of
from optimizer.control_plane.tables import metadata
from optimizer.core.live.canary_plan import read_plan

ENTITY, BY = "drugs_hcp", Author("anna", comment="before the backup")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PAGE = (Path(__file__).parents[2] / "docs/backup.md").read_text(encoding="utf-8")
DUMP = {
    "mysql": "mysqldump --single-transaction --no-tablespaces --skip-triggers --set-gtid-purged=OFF",
    "mariadb": "mariadb-dump --single-transaction --skip-triggers",
}
CLIENT = {"mysql": "mysql", "mariadb": "mariadb"}
GRANT = "GRANT SELECT ON optimizer.* TO 'optimizer_backup'@'%';"
SPARE_IDS = "ALTER TABLE opt_alerts AUTO_INCREMENT = 1000000;"


@pytest.fixture(scope="module", params=DRIVERS)
def name(request: pytest.FixtureRequest) -> str:
    """Return which database it is."""
    return request.param


@pytest.fixture
def engine(name: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Return a control plane with rows in every table, in a database that is called as in the documents."""
    server: SqlServer = request.getfixturevalue(f"{name}_server")
    server.execute("CREATE DATABASE optimizer CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    server.execute("CREATE USER 'optimizer_backup'@'%' IDENTIFIED BY 'test only'", GRANT)
    engine = open_engine(server.url("optimizer", driver=DRIVERS[name]))
    try:
        migrate(engine)
        fill(engine)
        yield engine
    finally:
        engine.dispose()
        server.execute("DROP USER 'optimizer_backup'@'%'", "DROP DATABASE optimizer")


@pytest.fixture
def backup(name: str, engine: Engine, tmp_path: Path) -> Path:
    """Return the file that the documents' command writes, with the account that may only read."""
    path = tmp_path / "backup.sql"
    login = ["--host=127.0.0.1", f"--port={engine.url.port}", "--user=optimizer_backup", "--password=test only"]
    with path.open("wb") as file:
        run([*program(DUMP[name]), *login, "optimizer"], stdout=file)
    return path


@pytest.fixture(scope="module")
def new_server(name: str) -> Iterator[SqlServer]:
    """Return another server of the same kind, without databases."""
    start = {"mysql": run_mysql, "mariadb": run_mariadb}[name]
    with memory_folder(name) as folder, start(folder) as server:
        yield server


@pytest.fixture
def restored(name: str, backup: Path, new_server: SqlServer) -> Iterator[Engine]:
    """Return the control plane in the new server, restored by the documents' steps."""
    new_server.execute("CREATE DATABASE optimizer CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    login = ["--host=127.0.0.1", f"--port={new_server.port}", "--user=root", "optimizer"]
    with backup.open("rb") as file:
        run([*program(CLIENT[name]), *login], stdin=file)
    new_server.execute(SPARE_IDS, database="optimizer")
    engine = open_engine(new_server.url("optimizer", driver=DRIVERS[name]))
    yield engine
    engine.dispose()
    new_server.execute("DROP DATABASE optimizer")


def fill(engine: Engine) -> None:
    """Leave what a few days leave: runs in every state, splits, a control, a canary, figures, an alert, the audit."""
    fill_catalog(engine)
    first, second = (complete_sample(engine, dag_run, now=NOW + number * DAY) for number, dag_run in enumerate("ab"))
    third = complete_sample(engine, "c", now=NOW + 2 * DAY)
    for number, split in enumerate(({first: 100}, {first: 60, second: 40}, {second: 100})):
        deploy(engine, entity_code=ENTITY, split=split, author=BY, now=NOW + number * HOUR)
    set_control(engine, entity_code=ENTITY, run_id=first, author=BY, now=NOW + 4 * HOUR)
    start_canary(engine, Promotion(third), entity_code=ENTITY, canary_plan=read_plan("10,50"), now=NOW + 3 * DAY)
    start_sample(engine, open_sample(engine, "running", now=NOW + 3 * DAY).run_id)
    flow = read_printed("example_flow.sql")
    with transaction(engine) as connection:
        for statement in ("ui_inserts_run", "ui_inserts_run_configs"):
            connection.exec_driver_sql(flow[statement].replace("20260203_150000", "20260207_150000"))
    days = [LiveDay(run_id=first, day=NOW.date(), bids=100, wins=30, clicks=1, spend=0.1 + 0.2)]
    live_records.replace_days(engine, 1, days, now=NOW)
    incidents = [Incident("no_bids", "none: «keine» 例", first)]
    record_incidents(engine, 1, incidents, kinds=["no_bids"], now=NOW)
    write_counts(engine, "a", [HourCount(ENTITY, NOW, first, "segment", 5)], now=NOW)
    planned = plan_snapshot(engine, ENTITY)
    assert planned is not None and confirm_snapshot(engine, planned, now=NOW)


def read_all(engine: Engine) -> dict[str, list[tuple]]:
    """Return {table: its rows}, generated columns among them."""
    with reading(engine) as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def program(command: str) -> list[str]:
    """Return the command with the program's place: MySQL's are unpacked beside the system, MariaDB's installed."""
    name, *options = command.split()
    unpacked = UNPACKED.with_name(name)
    found = str(unpacked) if name.startswith("mysql") and unpacked.exists() else shutil.which(name)
    assert found, f"{name} is not there: `make servers` installs it"
    return [found, *options]


def run(command: list[str], **files) -> None:
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False, timeout=120, **files)
    assert done.returncode == 0, done.stderr.decode()


def test_the_page_has_the_commands_that_are_tried_here(name):
    for line in (DUMP[name], GRANT, SPARE_IDS, f"{CLIENT[name]} --host="):
        assert line in PAGE


def test_every_row_comes_back_and_the_schema_is_the_one_that_the_code_needs(engine, restored):
    before, after = read_all(engine), read_all(restored)
    assert {name for name, rows in before.items() if rows} >= {
        *("opt_runs", "opt_run_configs", "opt_run_metrics", "opt_run_outputs", "opt_deployments", "opt_canaries"),
        *("opt_live_daily", "opt_alerts", "opt_bidder_counts", "opt_serving_snapshots", "opt_audit"),
    }
    for table in before:
        assert after[table] == before[table], table
    check_schema(restored)
    migrate(restored)
    assert read_all(restored) == before


def test_runs_splits_and_audit_go_on_where_the_backup_ended(engine, restored):
    known = {run.run_id for run in list_runs(restored)}
    present, audited = percents_of(read_active(restored, ENTITY)), len(read_audit(restored, ENTITY))
    later = NOW + 4 * DAY
    new = complete_sample(restored, "after the restore", now=later)
    assert new not in known and read_run(restored, new).status == "completed"
    deploy(restored, entity_code=ENTITY, split={new: 100}, author=Author("ben"), now=later)
    assert percents_of(read_active(restored, ENTITY)) == {new: 100}
    rollback(restored, entity_code=ENTITY, author=Author("ben"), now=later + HOUR)
    assert percents_of(read_active(restored, ENTITY)) == present
    assert len(read_audit(restored, ENTITY)) > audited
    with reading(restored) as connection:
        ids = list(connection.scalars(text("SELECT deployment_id FROM opt_deployments ORDER BY deployment_id")))
    assert len(set(ids)) == len(ids)


def test_alerts_after_the_restore_have_ids_that_were_never_reported(engine, restored):
    (open_before,) = read_open(restored, ENTITY)
    incidents = [Incident("split_mismatch", "others")]
    (opened,) = record_incidents(restored, 1, incidents, kinds=["split_mismatch"], now=NOW + DAY).opened
    assert opened.alert_id >= 1_000_000 > open_before.alert_id


def test_the_accounts_are_created_again_and_get_their_rights(restored, new_server):
    new_server.execute(*(f"CREATE USER '{account}'@'%' IDENTIFIED BY 'test only'" for account in ACCOUNTS))
    new_server.execute(*split_statements(GRANTS_SQL.read_text(encoding="utf-8")), database="optimizer")
    driver = restored.url.drivername
    login = {"user": "optimizer_app", "password": "test only", "driver": driver}
    app = open_engine(new_server.url("optimizer", **login))
    check_schema(app)
    assert complete_sample(app, "by its own account", now=NOW + 5 * DAY)
    app.dispose()
