"""Airflow itself on the embedded stack, its schedules off, with trial DAGs, three entities and a small log of each."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from orchestration.driving import dag_of, finish, trigger
from orchestration.trial_dags import make_project
from pipeline.requests import prepare
from playwright.sync_api import Browser, BrowserContext, Page, expect
from servers.browser import press_enter
from servers.embedded import systems
from servers.memory import memory_folder
from sqlalchemy import Engine, insert, select

from lab.stack import SYSTEMS, LocalStack, demo
from optimizer.clients.airflow_api import AirflowApi
from optimizer.control_plane import tables
from optimizer.control_plane.engine import open_engine, transaction

__all__ = ["systems"]

LOG_BIDS = {"drugs_hcp": 60_000, "drugs_com": 45_000, "nativo_consumer": 45_000}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with memory_folder("airflow") as home, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPTIMIZER_RETRY_DELAY_S", "2")
        project = make_project(tmp_path_factory.mktemp("project"))
        stack = LocalStack.open(home, project=project)
        try:
            stack.start(*SYSTEMS)
            stack.wait_ready(60)
            prepare(open_engine(stack.environment()["OPTIMIZER_CONTROL_PLANE_URL"]))  # with the documents' ids
            schedule_in_half_a_day(demo.prepare_control_plane(stack))
            demo.load_generated(stack, today=demo.today_utc(), bids=LOG_BIDS)
            stack.start()
            stack.wait_ready(300)  # two minutes are too few where other work shares the machine
            yield stack
        finally:
            stack.stop()


def schedule_in_half_a_day(engine: Engine) -> None:
    """Give each entity a schedule that is due in twelve hours.

    A scheduler that obeys schedules starts a new DAG at once where its last time was within a tenth of a day.
    """
    due = f"0 {(datetime.now(UTC) + timedelta(hours=12)).hour} * * *"
    with transaction(engine) as connection:
        rows = [
            {"entity_id": entity_id, "config_key": "schedule", "config_value": due}
            for entity_id in connection.scalars(select(tables.entities.c.entity_id))
        ]
        connection.execute(insert(tables.entity_configs), rows)


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


@pytest.fixture(scope="session")
def address(stack: LocalStack) -> str:
    return f"http://127.0.0.1:{stack.settings.airflow_port}"


@pytest.fixture(scope="module")
def signed_in(stack: LocalStack, address: str, chromium: Browser) -> BrowserContext:
    """Return a browser context whose user signed in to Airflow's UI; one module leaves it to the next.

    It loads the UI's many megabytes of script once.
    """
    if chromium.contexts:
        return chromium.contexts[0]
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(60_000)
    with context.new_page() as page:
        page.goto(address)
        page.locator("input[name=username]").fill(stack.settings.airflow_user)
        page.locator("input[name=password]").fill(stack.settings.airflow_password)
        press_enter(page)
        expect(page.get_by_role("link", name="Optimizer")).to_be_visible(timeout=60_000)
    return context


@pytest.fixture
def page(signed_in: BrowserContext) -> Iterator[Page]:
    """An empty page of the user who signed in; what stays open is drawn again every few seconds."""
    with signed_in.new_page() as page:
        yield page
