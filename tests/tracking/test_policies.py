"""What the database itself shows and forbids, whoever asks; on every release of Postgres at hand."""

import psycopg
import pytest
from servers.tracking import Tracking

TABLES = (
    *("optimization_runs", "optimization_iterations", "optimization_samples", "optimization_score_ranges"),
    *("optimization_idempotency_keys", "optimization_deleted_runs"),
)


@pytest.fixture(scope="module")
def run(each_tracking: Tracking):
    """A run of the project shop with an iteration, a sample and an idempotency key, counted in the analytics.

    The project has a deleted run too, and ranges of scores, as a long run has.
    """
    shop = each_tracking.client("shop")
    run = shop.create_run()
    shop.post(f"/runs/{run['id']}/iterations", {"iteration": 1, "score": 1}, **{"Idempotency-Key": "policies"})
    shop.post(f"/runs/{run['id']}/samples", {"samples": [{"iteration": 1, "sampleIndex": 0}]})
    shop.delete(f"/runs/{shop.create_run()['id']}")
    with each_tracking.connect() as connection:
        connection.execute("SELECT refresh_optimization_analytics()")
        connection.execute("SET ROLE optimization_service")
        connection.execute("SELECT find_score_ranges(%s)", [run["id"]])
    return run


@pytest.mark.parametrize("table", [*TABLES, "optimization_iterations_judged", "optimization_analytics"])
def test_the_policies_show_a_caller_its_own_project(each_tracking: Tracking, run, table):
    with each_tracking.connect() as connection:
        connection.execute("SET ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{shop}', true)")
        assert connection.execute(f"SELECT count(*) FROM {table} WHERE project_id = 'shop'").fetchone() != (0,)


@pytest.mark.parametrize("setting", ["{search}", "{}", "", None], ids=str)
@pytest.mark.parametrize("table", [*TABLES, "optimization_iterations_judged", "optimization_analytics"])
def test_the_policies_show_a_caller_no_row_of_another_project(each_tracking: Tracking, run, table, setting):
    with each_tracking.connect() as connection:
        connection.execute("SET ROLE optimization_app")
        if setting is not None:
            connection.execute("SELECT set_config('app.projects', %s, true)", [setting])
        assert connection.execute(f"SELECT count(*) FROM {table} WHERE project_id = 'shop'").fetchone() == (0,)


def test_the_policies_obey_for_the_owner_of_the_tables_too(each_tracking: Tracking, run):
    with each_tracking.connect() as connection:
        forced = connection.execute(
            "SELECT relname FROM pg_class WHERE relforcerowsecurity AND relowner = current_user::regrole ORDER BY 1"
        ).fetchall()
    assert {row[0] for row in forced} == {
        *TABLES,
        "optimization_api_keys",
        "optimization_audit",
        "optimization_run_leases",
        "project_config",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO optimization_runs (project_id, run_name, optimizer_type) VALUES ('shop', 'x', 'rtb')",
        "INSERT INTO optimization_iterations (project_id, run_id, iteration) VALUES ('shop', '{run}', 77)",
        "UPDATE optimization_runs SET project_id = 'shop'",
        "UPDATE optimization_iterations SET score = 1",
        "DELETE FROM optimization_deleted_runs",
        "INSERT INTO optimization_deleted_runs (project_id, run_id) VALUES ('shop', '{run}')",
        "SELECT optimization_remove_deleted(1)",
        "SELECT * FROM optimization_api_keys",
        "SELECT * FROM optimization_run_analytics",
        "INSERT INTO project_config (id, name) VALUES ('mine', 'mine')",
        "REFRESH MATERIALIZED VIEW optimization_run_analytics",
        "ALTER TABLE optimization_runs DISABLE ROW LEVEL SECURITY",
        "SELECT optimization_list_projects()",
        "SELECT optimization_forget_idempotency_keys(interval '0')",
        "SELECT optimization_forget_audit(interval '0')",
        "SELECT * FROM optimization_audit",
        "DELETE FROM optimization_audit",
        "SELECT * FROM optimization_ended_sessions",
    ],
)
def test_a_callers_role_can_neither_write_for_another_project_nor_read_what_is_secret(
    each_tracking: Tracking, run, statement
):
    each_tracking.client("search").create_run()
    with each_tracking.connect() as connection:
        connection.execute("SET LOCAL ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{search}', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.replace("{run}", run["id"]))


def test_a_mark_of_ones_own_project_hides_and_removes_no_run_of_another(each_tracking: Tracking, run):
    with each_tracking.connect() as connection:
        connection.execute("SET LOCAL ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{search}', true)")
        connection.execute("INSERT INTO optimization_deleted_runs VALUES ('search', %s)", [run["id"]])
    assert each_tracking.client("shop").get(f"/runs/{run['id']}").status_code == 200
    with each_tracking.connect() as connection:
        while connection.execute("SELECT optimization_remove_deleted(1)").fetchone() != (0,):
            pass
    shop = each_tracking.client("shop")
    assert shop.get(f"/runs/{run['id']}/samples").json()["pagination"]["total"] == 1
    shop.delete(f"/runs/{shop.create_run()['id']}")  # for the other tests: the fixture's is removed now


def test_an_iteration_cannot_be_hung_on_another_projects_run(each_tracking: Tracking, run):
    with each_tracking.connect() as connection:
        connection.execute("SET LOCAL ROLE optimization_app")
        connection.execute("SELECT set_config('app.projects', '{search}', true)")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute(
                "INSERT INTO optimization_iterations (project_id, run_id, iteration) VALUES ('search', %s, 77)",
                [run["id"]],
            )


@pytest.mark.parametrize(
    "call",
    [
        "optimization_add_iterations('{search}', 'x', %(run)s, true, '{77}', {})",
        "optimization_add_samples('{search}', 'x', %(run)s, true, '{1}', NULL, '{77}', {})",
    ],
    ids=["iterations", "samples"],
)
def test_a_call_writes_for_its_caller_and_for_nobody_after_it(each_tracking: Tracking, run, call):
    written = "SELECT 1 FROM " + call.replace("{}", ", ".join(["NULL"] * (13 if "iterations" in call else 11)))
    with psycopg.connect(each_tracking.database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute(written, {"run": run["id"]})
        made = each_tracking.client("shop").create_run()
        each_tracking.client("shop").add_iteration(made["id"], iteration=1)
        assert connection.execute(written.replace("search", "shop"), {"run": made["id"]}).fetchall() == [(1,)]
        left = "SELECT current_user = session_user, current_setting('app.projects'), current_setting('app.actor')"
        assert connection.execute(left).fetchone() == (True, "", "")


@pytest.mark.parametrize("table", [*TABLES, "optimization_api_keys", "optimization_audit", "project_config"])
def test_the_owner_sees_nothing_until_it_takes_a_role_though_it_is_a_member_of_one(each_tracking: Tracking, run, table):
    with each_tracking.connect() as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        connection.execute("SET LOCAL ROLE optimization_service")
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() != (0,)
