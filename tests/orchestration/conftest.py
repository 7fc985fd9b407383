"""Airflow itself on the embedded stack, its schedules off, with three entities and a small log of each."""

from collections.abc import Iterator

import pytest
from orchestration.driving import dag_of, finish, trigger
from pipeline.requests import prepare
from servers.browser import chromium
from sqlalchemy import Engine, insert, select

from lab.stack import SYSTEMS, LocalStack, demo
from optimizer.clients.airflow_api import AirflowApi
from optimizer.control_plane import tables
from optimizer.control_plane.engine import open_engine, transaction

__all__ = ["chromium"]

LOG_BIDS = {"drugs_hcp": 60_000, "drugs_com": 45_000, "nativo_consumer": 45_000}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPTIMIZER_RETRY_DELAY_S", "2")
        stack = LocalStack.open(tmp_path_factory.mktemp("airflow"))
        try:
            stack.start(*SYSTEMS)
            stack.wait_ready(60)
            prepare(open_engine(stack.environment()["OPTIMIZER_CONTROL_PLANE_URL"]))  # with the documents' ids
            demo.prepare_control_plane(stack)
            demo.load_generated(stack, today=demo.today_utc(), bids=LOG_BIDS)
            stack.start()
            stack.wait_ready(300)  # two minutes are too few where other work shares the machine
            yield stack
        finally:
            stack.stop()


@pytest.fixture(scope="session")
def engine(stack: LocalStack) -> Engine:
    """Return the control plane; drugs_hcp has a control, the other entities have none."""
    engine = demo.prepare_control_plane(stack)
    with transaction(engine) as connection:
        others = select(tables.entities.c.entity_id).where(tables.entities.c.entity_code != "drugs_hcp")
        rows = [
            {"entity_id": entity_id, "config_key": "control_pct", "config_value": "0"}
            for entity_id in connection.scalars(others)
        ]
        connection.execute(insert(tables.entity_configs), rows)
    return engine


@pytest.fixture(scope="session")
def first_runs(stack: LocalStack) -> dict[str, str]:
    """One run of each of two entities, started together: {entity_code: dag_run_id}."""
    with stack.connect_airflow() as airflow:
        started = {entity: trigger(airflow, entity) for entity in ("drugs_hcp", "drugs_com")}
        for entity, run in started.items():  # a first run asks a person, who is the follower here
            for _ in demo.follow_run(stack, dag_id=dag_of(entity), dag_run_id=run):
                pass
        ended = {entity: finish(airflow, entity, run) for entity, run in started.items()}
    assert ended == dict.fromkeys(started, "success")
    return started


@pytest.fixture
def airflow(stack: LocalStack) -> Iterator[AirflowApi]:
    with stack.connect_airflow() as airflow:
        yield airflow
