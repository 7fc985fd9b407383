"""The service's own login, what it may do, and who wrote what."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from servers.http import open_client
from servers.postgres import ADMIN, PostgresServer
from servers.tracking import ProjectClient, Tracking, serving
from servers.waiting import wait_until
from typer.testing import CliRunner

from optimization_tracking.app import create_app
from optimization_tracking.commands.main import app
from optimization_tracking.connections import check_login
from optimization_tracking.keys import list_keys
from optimizer.errors import ConfigError
from optimizer.names import TRACKING_PREFIX, TRACKING_URL_VARIABLE

LOGIN = "tracking_service"


@pytest.fixture
def service_url(tracking: Tracking, postgres_server: PostgresServer) -> Iterator[str]:
    """The database's URL for a login that has the service's two roles and no more."""
    database = psycopg.conninfo.conninfo_to_dict(tracking.database_url)["dbname"]
    with psycopg.connect(postgres_server.url(ADMIN), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(LOGIN), sql.Literal(postgres_server.password)
            )
        )
        admin.execute(f"GRANT optimization_app, optimization_gate TO {LOGIN}")
        try:
            yield postgres_server.url(str(database), user=LOGIN)
        finally:
            admin.execute(f"DROP ROLE {LOGIN}")


def audit_of(tracking: Tracking, run_id: str) -> list[tuple]:
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        query = "SELECT action, row_count, project_id, actor FROM optimization_audit WHERE run_id = %s ORDER BY id"
        return connection.execute(query, [run_id]).fetchall()


def key_id(tracking: Tracking, project: str) -> str:
    with tracking.connect() as connection:
        keys = list_keys(connection, project_id=project)
    return next(str(key.id) for key in keys if tracking.keys[project].startswith(key.prefix))


def test_serve_refuses_the_owner_and_names_the_login_to_make(tracking: Tracking):
    done = CliRunner().invoke(app, ["serve"], env={TRACKING_URL_VARIABLE: tracking.database_url})
    assert done.exit_code == 1
    assert "tracking_owner" in done.stderr and "GRANT optimization_app, optimization_gate" in done.stderr


def test_serve_refuses_a_superuser(tracking: Tracking, postgres_server: PostgresServer):
    database = psycopg.conninfo.conninfo_to_dict(tracking.database_url)["dbname"]
    with pytest.raises(ConfigError, match="sees every project"):
        check_login(postgres_server.url(str(database), user=ADMIN))


def test_the_services_own_login_serves_everything(tracking: Tracking, service_url):
    check_login(service_url)
    service = create_app(database_url=service_url, prefix=TRACKING_PREFIX, refresh_s=0.05)
    with serving(service) as address, open_client(address + TRACKING_PREFIX) as http:
        shop = ProjectClient(http, tracking.keys["shop"])
        run = shop.create_run()
        shop.add_iteration(run["id"], iteration=0, score=1)
        assert shop.get("/runs", search="run").status_code == 200
        wait_until(lambda: shop.get("/analytics").json()["data"], "this login does not refresh the analytics")
        assert http.get("/health").status_code == 200
        assert http.post("/dashboard/sign-in", data={"key": shop.key}).status_code == 303
        assert http.get("/dashboard/").status_code == 200
        assert http.post("/dashboard/sign-out").status_code == 303
        assert shop.delete(f"/runs/{run['id']}").status_code == 200


def test_each_write_and_delete_has_a_row_that_names_the_key(tracking: Tracking, shop):
    run = shop.create_run()
    path = f"/runs/{run['id']}"
    shop.post(f"{path}/iterations/batch", {"iterations": [{"iteration": number} for number in range(3)]})
    shop.post(f"{path}/samples", {"samples": [{"iteration": 0, "sampleIndex": number} for number in range(2)]})
    shop.patch(path, {"runName": "new"})
    shop.post(f"{path}/iterations", {"iteration": 0})  # refused: it is there
    shop.get(path)
    shop.delete(path)
    actor = f"key {key_id(tracking, 'shop')}"
    assert audit_of(tracking, run["id"]) == [
        ("create run", 1, "shop", actor),
        ("add iterations", 3, "shop", actor),
        ("add samples", 2, "shop", actor),
        ("update run", 1, "shop", actor),
        ("delete run", 1, "shop", actor),
    ]


def test_what_an_administrator_writes_has_the_databases_login(tracking: Tracking, shop):
    run = shop.create_run()
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        connection.execute("DELETE FROM optimization_runs WHERE id = %s", [run["id"]])
    assert audit_of(tracking, run["id"])[-1] == ("delete run", 1, "shop", "database tracking_owner")


@pytest.mark.parametrize("path", ["/health", "/runs", "/projects", "/runs/no-id", "/nowhere", "/openapi.json"])
def test_answers_are_kept_in_no_cache_and_their_type_is_not_guessed(shop, path):
    headers = shop.get(path).headers
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_a_prepared_statement_shows_every_project_only_while_the_role_is_taken(tracking: Tracking, shop):
    shop.create_run()
    query = "SELECT count(*) FROM optimization_runs"
    with tracking.connect() as connection:
        for _ in range(3):  # Postgres keeps the plan of a statement that is prepared
            for role, sees_all in (("RESET ROLE", False), ("SET ROLE optimization_service", True)):
                connection.execute(role)
                for _ in range(7):
                    ((found,),) = connection.execute(query, prepare=True).fetchall()
                    assert (found > 0) is sees_all, role


def test_a_search_in_config_or_tags_uses_its_index_under_the_policies(tracking: Tracking):
    with tracking.connect() as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        connection.execute("SET ROLE optimization_service")
        for condition, index in (("config @> '{\"a\": 1}'", "config_gin"), ("tags @> '{a}'", "tags_gin")):
            rows = connection.execute(f"EXPLAIN SELECT id FROM optimization_runs WHERE {condition}").fetchall()
            assert f"idx_optimization_runs_{index}" in str(rows)
