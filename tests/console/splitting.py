"""What the tests of the page Split share: its addresses, what is live, and changes beside the page."""

from collections.abc import Iterator
from contextlib import contextmanager

from console.conftest import TODAY
from pipeline.driver import ENTITY
from sqlalchemy import event, insert, select

from optimizer.control_plane import tables
from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.deployment_history import read_active
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.splits import percents_of

PAGE, API = f"/clients/{ENTITY}/split", f"/api/clients/{ENTITY}"
READS = ("/split", "/rollback/preview", "/history")
WRITES = ("/split", "/rollback", "/pin", "/canary", "/control")


def engine_of(console):
    return console.business.systems.engine


def run_ids(console) -> tuple[str, str]:
    return console.business.first.run_id, console.business.second.run_id


def live(console) -> dict[str, int]:
    return percents_of(read_active(engine_of(console), ENTITY))


def seen(console) -> list[int]:
    return [row.deployment_id for row in read_active(engine_of(console), ENTITY)]


def set_split(console, split, *, by: str = "ben"):
    author = Author(by, comment="a change beside the page")
    return deploy(engine_of(console), entity_code=ENTITY, split=split, author=author, now=TODAY)


def post(console, path: str, body: dict, *, user: str | None = "anna"):
    """Send a write of the API."""
    with console.http(user) as http:
        return http.post(f"{API}{path}", json=body)


def copy_run(engine, copied: str, **values) -> str:
    """Insert a copy of a run with other values, and return its run_id."""
    with transaction(engine) as connection:
        of_run = select(tables.runs).where(tables.runs.c.run_id == copied)
        row = dict(connection.execute(of_run).mappings().one())
        own = {"run_code": values["run_id"], "dag_run_id": values["run_id"]}
        connection.execute(insert(tables.runs).values(**{**row, **own, **values}))
    return values["run_id"]


@contextmanager
def count_statements(engine) -> Iterator[list[str]]:
    """Collect the statements of the control plane that are sent in the block."""
    statements: list[str] = []

    def note(*call) -> None:
        statements.append(call[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def audit_of(console, *, limit: int = 1):
    return read_audit(engine_of(console), ENTITY, limit=limit)
