"""What does not fit together is found, each thing with what to do, and what fits is not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from control_plane.catalog import NOW, complete_sample, open_sample, start_sample
from pipeline.requests import VERSION_ID, copy_control_plane, prepare
from servers.embedded import closed_port
from sqlalchemy import Engine, text

from lab.stack import LocalStack
from lab.stack.clients import connect_objects
from optimizer.artifacts.store import ObjectStore
from optimizer.clients.airflow_api import RegisteredDag
from optimizer.control_plane import deployments
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import open_engine, reading, transaction
from optimizer.errors import AccessDenied, ConfigError, UnavailableError
from optimizer.lifecycle.doctor import examine
from optimizer.lifecycle.findings import DoctorFinding
from optimizer.lifecycle.zombie_runs import GRACE

BUCKET = "doctor"
PREFIX = f"s3://{BUCKET}/first/"
LATER = NOW + GRACE + timedelta(minutes=1)
INSERT_RUNNING = (
    f"INSERT INTO opt_runs (run_id, entity_id, version_id, status) VALUES ('x', 1, {VERSION_ID}, 'running')"
)
UNPAUSE = "unpause the DAG `pending_runs`, and read the log of its `claim` where it is red"


@pytest.fixture(scope="module")
def store(systems: LocalStack) -> Iterator[ObjectStore]:
    """Return a store that holds one run's manifest."""
    systems.ensure_bucket(BUCKET)
    client = systems.connect_objects()
    store = ObjectStore(client)
    store.put_bytes(f"{PREFIX}manifest.json", b"{}")
    yield store
    client.close()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Return a control plane where all is well: one run of drugs_hcp, completed and live."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('doctor')}/control_plane.db")
    prepare(engine)
    run_id = complete_sample(engine, "first")
    change(engine, f"UPDATE opt_runs SET s3_output_path = '{PREFIX}'")
    deployments.deploy(engine, entity_code="drugs_hcp", split={run_id: 100}, author=Author("test"), now=NOW)
    return engine


@pytest.fixture
def engine(healthy: Engine, tmp_path: Path) -> Engine:
    return copy_control_plane(healthy, tmp_path)


def change(engine: Engine, *statements: str) -> None:
    with transaction(engine) as connection:
        for statement in statements:
            connection.execute(text(statement))


def look(
    engine: Engine,
    store: ObjectStore,
    *,
    state: str | None = "running",
    dags: Sequence[RegisteredDag] | None = None,
    slots: int | None = 1,
    now=LATER,
) -> list[DoctorFinding]:
    """Return what is found where every DAG run has the state, and Airflow the DAGs: of all active entities if None."""
    known = fitting_dags(engine) if dags is None else dags
    states = {"dag_run_state": lambda dag_id, dag_run_id: state, "list_dags": lambda prefix: known}
    return examine(engine, store=store, **states, pool_slots=lambda name: slots, now=now)


def fitting_dags(engine: Engine) -> list[RegisteredDag]:
    """Return a DAG of each active entity, unpaused, as the dag-processor registers them."""
    with reading(engine) as connection:
        codes = connection.scalars(text("SELECT entity_code FROM opt_entities WHERE status = 'A' ORDER BY entity_code"))
        return [dag_of(code) for code in codes]


def dag_of(code: str, *, is_paused=False, is_stale=False, has_import_errors=False) -> RegisteredDag:
    return RegisteredDag(f"optimize__{code}", is_paused, is_stale, has_import_errors)


def only(found: list[DoctorFinding]) -> tuple[str, str, str]:
    (finding,) = found
    return finding.subject, finding.problem, finding.todo


def test_where_all_is_well_nothing_is_found_and_airflow_is_asked_for_its_dags_once(engine: Engine, store: ObjectStore):
    asked, dags = [], fitting_dags(engine)
    never = lambda *ids: pytest.fail("asked for a DAG run")  # noqa: E731
    list_dags = lambda prefix: asked.append(prefix) or dags  # noqa: E731
    pool_slots = lambda name: asked.append(name) or 1  # noqa: E731
    airflow = {"dag_run_state": never, "list_dags": list_dags, "pool_slots": pool_slots}
    assert examine(engine, store=store, **airflow, now=LATER) == []
    assert asked == ["optimize__", "optimizer_training"]


def set_slots(engine: Engine, value: str) -> None:
    row = f"SELECT entity_id, 'training_slots', '{value}' FROM opt_entities WHERE entity_code = 'drugs_com'"
    change(engine, f"INSERT INTO opt_entity_configs (entity_id, config_key, config_value) {row}")


def test_an_entity_whose_training_takes_more_slots_than_the_pool_has_is_found(engine: Engine, store: ObjectStore):
    set_slots(engine, "4")
    assert only(look(engine, store, slots=2)) == (
        "entity drugs_com",
        "its training never starts: training_slots=4, and Airflow's pool optimizer_training has 2 slots",
        "`optimizer configure drugs_com training_slots=2`, or `airflow pools set optimizer_training 4 Training` if the "
        "workers have as many cores",
    )
    assert look(engine, store, slots=4) == look(engine, store, slots=-1) == []  # -1: a pool without a limit
    change(engine, "UPDATE opt_entities SET status = 'I' WHERE entity_code = 'drugs_com'")
    assert look(engine, store, slots=2) == []


def test_slots_that_are_not_a_number_are_the_finding_of_the_config_alone(engine: Engine, store: ObjectStore):
    set_slots(engine, "many")
    assert "training_slots" in only(look(engine, store))[1]


def test_an_airflow_without_the_pool_is_one_finding(engine: Engine, store: ObjectStore):
    subject, problem, todo = only(look(engine, store, slots=None))
    assert (subject, problem) == ("Airflow", "it has no pool optimizer_training: no training starts")
    assert "airflow pools set optimizer_training 1" in todo


def test_an_active_entity_without_a_dag_that_runs_is_found_and_a_dag_without_an_active_entity(
    engine: Engine, store: ObjectStore
):
    dags = [
        dag_of("drugs_hcp", is_stale=True, has_import_errors=True),
        dag_of("nativo_consumer", is_paused=True, has_import_errors=True),
        dag_of("left_last_week"),
        dag_of("left_last_year", is_stale=True),
    ]
    found = look(engine, store, dags=dags)
    assert [(finding.subject, finding.problem.partition(":")[0]) for finding in found] == [
        ("entity drugs_com", "Airflow has no DAG optimize__drugs_com"),
        ("entity drugs_hcp", "its DAG optimize__drugs_hcp is stale"),
        ("entity nativo_consumer", "the file of its DAG optimize__nativo_consumer has an import error"),
        ("entity nativo_consumer", "its DAG optimize__nativo_consumer is paused"),
        ("DAG optimize__left_last_week", "opt_entities has no active entity of it"),
    ]
    assert "import errors on Airflow's first page" in found[0].todo
    assert "unpause optimize__nativo_consumer" in found[3].todo
    assert "`optimizer confirm-entities`" in found[4].todo


def test_an_invalid_entity_is_found_once_whether_or_not_it_kept_its_dag(engine: Engine, store: ObjectStore):
    change(engine, "UPDATE opt_entities SET s3_base_path = 'nowhere' WHERE entity_code = 'drugs_com'")
    for dags in (fitting_dags(engine), [dag for dag in fitting_dags(engine) if "drugs_com" not in dag.dag_id]):
        subject, problem, _ = only(look(engine, store, dags=dags))
        assert subject == "entity drugs_com" and problem.startswith("it is invalid")


def test_a_running_row_whose_dag_run_is_gone_is_found_at_once(engine: Engine, store: ObjectStore):
    run_id = start_sample(engine, open_sample(engine, "lost").run_id).run_id
    assert only(look(engine, store, state=None, now=NOW)) == (
        f"run {run_id}",
        "running, but Airflow has no DAG run lost of optimize__drugs_hcp",
        f"the DAG `pending_runs` sets it failed: unpause it; or `optimizer cancel {run_id}`",
    )
    assert look(engine, store, state="running") == []


def test_a_run_that_is_just_being_closed_is_not_a_finding_and_later_it_is(engine: Engine, store: ObjectStore):
    start_sample(engine, open_sample(engine, "ended").run_id)
    assert look(engine, store, state="failed", now=NOW) == []
    assert "ended failed and left the run running" in only(look(engine, store, state="failed"))[1]


def test_a_running_row_that_never_had_a_dag_run_is_found(engine: Engine, store: ObjectStore):
    change(engine, INSERT_RUNNING)
    found = only(look(engine, store))
    assert found[:2] == ("run x", "running without a DAG run") and "`optimizer cancel x`" in found[2]


def test_a_request_that_is_not_claimed_in_time_is_found(engine: Engine, store: ObjectStore):
    row = f"('x', 1, {VERSION_ID}, 'pending', '{NOW:%Y-%m-%d %H:%M:%S}')"
    change(engine, f"INSERT INTO opt_runs (run_id, entity_id, version_id, status, created_at) VALUES {row}")
    assert look(engine, store, now=NOW) == []
    assert only(look(engine, store)) == ("run x", "pending for 11 minutes, and not claimed", UNPAUSE)


def test_a_completed_run_without_manifest_is_found_with_its_prefix(engine: Engine, store: ObjectStore):
    change(engine, f"UPDATE opt_runs SET s3_output_path = 's3://{BUCKET}/elsewhere/'")
    assert only(look(engine, store))[1] == f"completed, but there is no manifest.json below s3://{BUCKET}/elsewhere/"
    change(engine, "UPDATE opt_runs SET s3_output_path = NULL")
    assert only(look(engine, store))[1] == "completed without s3_output_path"
    change(engine, "UPDATE opt_runs SET s3_output_path = 'somewhere'")
    assert "'somewhere/manifest.json' is not an s3:// address" in only(look(engine, store))[1]


def test_a_split_that_does_not_sum_to_a_hundred_is_found_with_how_to_fix_it(engine: Engine, store: ObjectStore):
    change(engine, "UPDATE opt_deployments SET traffic_pct = 80")
    assert only(look(engine, store)) == (
        "entity drugs_hcp",
        "its active deployments sum to 80 %, not to 100",
        "`optimizer deploy drugs_hcp RUN=PERCENT…` sets a whole split, `optimizer rollback drugs_hcp` the one before",
    )


def test_a_live_run_that_may_not_be_deployed_is_found(engine: Engine, store: ObjectStore):
    change(engine, "UPDATE opt_runs SET validation_status = 'failed'")
    assert "is completed, validation failed" in only(look(engine, store))[1]


def test_a_required_key_without_default_is_found_and_every_entity_that_it_stops(engine: Engine, store: ObjectStore):
    change(engine, "UPDATE opt_version_configs SET default_value = NULL WHERE config_key = 'max_bid_cpm'")
    version, *stopped = look(engine, store)
    assert (version.subject, version.problem) == ("version v3", "its key max_bid_cpm is required, without default")
    assert [finding.subject for finding in stopped] == ["entity drugs_com", "entity nativo_consumer"]  # hcp sets it
    assert {finding.problem for finding in stopped} == {
        "no run can start: max_bid_cpm is required and has no value; set it on the entity or on the run"
    }


def test_a_version_whose_lists_disagree_and_an_entity_that_is_set_aside_are_found(engine: Engine, store: ObjectStore):
    change(
        engine,
        "DELETE FROM opt_version_configs WHERE config_key = 'dry_run'",
        "UPDATE opt_entities SET s3_base_path = 'nowhere' WHERE entity_code = 'drugs_com'",
        "UPDATE opt_entities SET status = 'I' WHERE entity_code = 'nativo_consumer'",
    )
    aside, stopped = look(engine, store)
    assert aside.subject == "entity drugs_com" and "s3_base_path='nowhere'" in aside.problem
    assert "dry_run is in supported_configs but has no row in opt_version_configs" in stopped.problem


@pytest.mark.parametrize("error", [UnavailableError("Airflow is silent"), ConfigError("Airflow refused the password")])
def test_an_airflow_that_cannot_be_asked_is_a_finding_of_its_own(engine: Engine, store: ObjectStore, error: Exception):
    for dag_run_id in ("lost", "also lost"):
        start_sample(engine, open_sample(engine, dag_run_id).run_id)
    change(engine, INSERT_RUNNING)

    def silent(*_: str) -> None:
        raise error

    dags = fitting_dags(engine)
    for list_dags in (silent, lambda prefix: dags):
        airflow = {"dag_run_state": silent, "list_dags": list_dags, "pool_slots": lambda name: 1}
        found = examine(engine, store=store, **airflow, now=LATER)
        assert sorted(finding.problem for finding in found) == [str(error), "running without a DAG run"]


def test_an_object_store_that_is_away_is_a_finding_of_its_own(engine: Engine, systems: LocalStack):
    settings = systems.settings.model_copy(update={"objects_port": closed_port()})
    client = connect_objects(settings, timeout_s=2, attempts=1)
    subject, problem, _ = only(look(engine, ObjectStore(client)))
    client.close()
    assert subject == "object store" and "the object store did not answer" in problem


LET_READ = "let this login read the objects, and ask again: their manifests were not looked up"


def test_an_object_store_that_denies_access_is_one_finding_for_all_runs(engine: Engine, systems: LocalStack):
    complete_sample(engine, "second")
    client = connect_objects(systems.settings.model_copy(update={"objects_access_key": "WRONG"}))
    subject, problem, todo = only(look(engine, ObjectStore(client)))
    client.close()
    assert (subject, todo) == ("object store", LET_READ)
    assert problem.startswith("access was denied for 2 completed runs, first: listing s3://")
    assert "check its credentials" in problem


@dataclass
class DenyingStore:
    """A store whose login may read everything but what begins so."""

    store: ObjectStore
    denied: str

    def exists(self, uri: str) -> bool:
        if uri.startswith(self.denied):
            raise AccessDenied(f"listing {uri}: denied")
        return self.store.exists(uri)


def test_runs_whose_objects_may_be_read_are_still_looked_up(engine: Engine, store: ObjectStore):
    run_id = complete_sample(engine, "second")
    change(engine, f"UPDATE opt_runs SET s3_output_path = 's3://{BUCKET}/gone/' WHERE run_id = '{run_id}'")
    gone, denied = look(engine, DenyingStore(store, denied=PREFIX))
    assert (gone.subject, gone.problem) == (
        f"run {run_id}",
        f"completed, but there is no manifest.json below s3://{BUCKET}/gone/",
    )
    assert denied == DoctorFinding(
        "object store", f"access was denied for 1 completed run, first: listing {PREFIX}manifest.json: denied", LET_READ
    )
