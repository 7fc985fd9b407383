"""What a log may hold of an error: its kind and where it happened, never the values of a row."""

import asyncio

import httpx
import psycopg
import pytest
from servers.tracking import Tracking
from starlette.requests import Request

from optimization_tracking.app import create_app
from optimization_tracking.auth import LoginUser
from optimizer.names import TRACKING_PREFIX

NPI = "1234567893"
ROW = "1679576722"
"""Another one, which is in a row and in no statement."""


def ask(database_url: str, failing, *, path: str = "/runs") -> httpx.Response:
    """Return the answer to a request whose login fails; what the app does not answer, it raises here."""

    async def log_in(request: Request) -> LoginUser:
        await failing()
        return LoginUser("nobody", can_write=False)

    async def get() -> httpx.Response:
        app = create_app(database_url=database_url, prefix=TRACKING_PREFIX, login=log_in, refresh_s=None)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://here{TRACKING_PREFIX}") as http:
                return await http.get(path)

    return asyncio.run(get())


def test_a_fault_is_answered_with_500_and_logged_without_its_text(tracking: Tracking, caplog):
    async def fail() -> None:
        raise ValueError(f"no visitor has the NPI {NPI}")

    answer = ask(tracking.database_url, fail)
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert "ValueError" in caplog.text and "in fail" in caplog.text
    assert NPI not in caplog.text + answer.text


def test_the_path_of_a_fault_stays_in_its_line_of_the_log(tracking: Tracking, caplog):
    async def fail() -> None:
        raise ValueError

    assert ask(tracking.database_url, fail, path="/dashboard/named/a%1Bforged").status_code == 500
    assert "named/a%1Bforged failed" in caplog.text


@pytest.mark.parametrize(
    ("options", "status", "logged"),
    [
        ("ERRCODE = 'P0001'", 500, "RaiseException P0001"),
        ("ERRCODE = '23502', CONSTRAINT = 'needed'", 500, "NotNullViolation 23502 needed"),
        ("ERRCODE = '53200'", 503, "OutOfMemory 53200"),
        ("ERRCODE = '42501'", 503, "InsufficientPrivilege 42501"),
    ],
)
def test_an_error_of_the_database_is_logged_by_its_kind_state_and_constraint(
    tracking: Tracking, caplog, options, status, logged
):
    async def fail() -> None:
        async with await psycopg.AsyncConnection.connect(tracking.database_url) as connection:
            await connection.execute(f"DO $$ BEGIN RAISE 'a row of {NPI}' USING {options}, DETAIL = '{NPI}'; END $$")

    answer = ask(tracking.database_url, fail)
    assert answer.status_code == status
    assert logged in caplog.text
    assert NPI not in caplog.text + answer.text


def test_the_embedded_servers_own_log_holds_no_values_of_a_row(tracking: Tracking, postgres_server):
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                "INSERT INTO optimization_runs (project_id, run_name, optimizer_type, status) "
                "VALUES ('shop', %s, 'rtb', 'odd')",
                [f"run of {ROW}"],
            )
    log = (postgres_server.socket_folder / "server.log").read_text()
    assert "optimization_runs_status" in log and ROW not in log
