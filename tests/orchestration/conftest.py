"""Airflow itself on the embedded stack, its schedules off, with three entities and a small log of each."""

from collections.abc import Iterator

import pytest
from pipeline.requests import prepare
from sqlalchemy import Engine

from optimizer.control_plane.engine import open_engine
from optimizer.local import SYSTEMS, LocalStack, demo
from optimizer.local.airflow_api import AirflowApi

LOG_BIDS = {"drugs_hcp": 120_000, "drugs_com": 90_000, "nativo_consumer": 90_000}


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
    return demo.prepare_control_plane(stack)


@pytest.fixture
def airflow(stack: LocalStack) -> Iterator[AirflowApi]:
    with stack.connect_airflow() as airflow:
        yield airflow
