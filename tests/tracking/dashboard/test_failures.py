"""What is shown where a page fails, and where there is nothing to show it from."""

import psycopg
import pytest
from fastapi import FastAPI
from psycopg_pool import PoolTimeout
from servers.http import open_client
from servers.tracking import serving
from starlette.exceptions import HTTPException

from optimization_tracking.app import create_app
from optimization_tracking.dashboard import failures


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (PoolTimeout("secret"), 503, "does not answer"),
        (psycopg.errors.QueryCanceled("secret"), 503, "took too long"),
        (psycopg.errors.UndefinedTable("secret"), 503, "optimization_tracking migrate"),
        (psycopg.errors.SyntaxError("secret"), 500, "its log has the reason"),
        (RuntimeError("secret"), 500, "its log has the reason"),
        (HTTPException(403, "your Airflow user may not read DAGs"), 403, "may not read DAGs"),
        (HTTPException(401), 401, "Sign in to Airflow first"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_fails_is_a_page_that_says_what_to_do_and_no_more(error, status, said, caplog):
    app = FastAPI()
    app.state.sessions = None
    failures.install(app)

    @app.get("/")
    async def fail():
        raise error

    with serving(app) as address, open_client(address) as http:
        answer = http.get("/")
    assert answer.status_code == status and said in answer.text and "secret" not in answer.text
    assert "secret" not in caplog.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")


def test_without_a_database_the_page_names_the_variable():
    with serving(create_app(database_url=None)) as address, open_client(address) as http:
        answer = http.get("/dashboard/")
    assert answer.status_code == 503 and "set OPTIMIZER_TRACKING_URL" in answer.text
