"""The schema on every release at hand: made, taken back, made again; and split by project."""

from pathlib import Path

from servers.postgres import PostgresServer
from servers.tracking import Tracking, run_tracking

from optimization_tracking.connections import connect
from optimization_tracking.schema import current_revision, head_revision, migrate, revert

PARTITIONED = Path(__file__).parents[2] / "include" / "sql" / "postgres" / "partitioned_runs.sql"
INDEXES = {
    *(
        f"idx_optimization_runs_{name}"
        for name in (
            *("project_id", "status", "optimizer_type", "run_name", "performance"),
            *("config_gin", "metadata_gin", "tags_gin"),
        )
    ),
    "idx_optimization_iterations_run_id",
    "idx_optimization_samples_run_id",
    "idx_optimization_iterations_params_gin",
}


def indexes_of(connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT indexname FROM pg_indexes").fetchall()}


def test_the_schema_is_made_taken_back_and_made_again(each_postgres_server: PostgresServer):
    with each_postgres_server.database() as url:
        assert migrate(url) == migrate(url) == head_revision()
        revert(url, revision="base")
        assert current_revision(url) is None
        with connect(url) as connection:
            query = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            left = {row[0] for row in connection.execute(query).fetchall()}
        assert left == {"optimization_schema_version", "optimization_schema_version_pkc"}
        assert migrate(url) == head_revision()


def test_runs_of_an_older_revision_are_counted_and_measured(each_postgres_server: PostgresServer):
    with each_postgres_server.database() as url:
        migrate(url)
        revert(url, revision="0006")
        with connect(url) as connection:
            connection.execute("SET ROLE optimization_service")
            connection.execute("INSERT INTO project_config VALUES ('shop', 'a')")
            connection.execute(
                "INSERT INTO optimization_runs (project_id, run_name, optimizer_type, config) "
                """VALUES ('shop', 'r', 'rtb', '{"a": 1}')"""
            )
            connection.execute(
                "INSERT INTO optimization_iterations (project_id, run_id, iteration, score, params) "
                """SELECT project_id, id, 7 * n, n %% 5000, '{"b": 22}' FROM optimization_runs, """
                "generate_series(0, %s) AS n",
                [10_000],
            )
            connection.execute(
                "INSERT INTO optimization_samples "
                "(project_id, run_id, iteration_id, iteration, sample_index, is_correct, input) "
                "SELECT project_id, run_id, id, iteration, 0, (ARRAY[true, false, NULL])[iteration % 3 + 1], '[1]' "
                "FROM optimization_iterations WHERE iteration < 70"
            )
            seen = connection.execute("SELECT updated_at FROM optimization_runs").fetchone()
        migrate(url)
        with connect(url) as connection:
            connection.execute("SET ROLE optimization_service")
            counts = "SELECT iterations_stored, samples_stored, correct_samples, wrong_samples, bytes, range_size "
            (found,) = connection.execute(counts + "FROM optimization_runs").fetchall()
            assert found == (10_001, 10, 4, 3, len('{"a": 1}' + "{}" * 2), 7 * 1024 - 1)
            assert connection.execute("SELECT updated_at FROM optimization_runs").fetchone() == seen
            (sizes,) = connection.execute("SELECT DISTINCT bytes FROM optimization_iterations").fetchall()
            assert sizes == (len('{"b": 22}' + "{}"),)
            ranges = "SELECT count(*), sum(scores), min(low_score), max(high_score) FROM optimization_score_ranges"
            assert connection.execute(ranges).fetchone() == (10, 10_001, 0, 4999)
        revert(url, revision="0006")


def test_a_run_of_an_older_revision_knows_the_key_that_made_it(each_postgres_server: PostgresServer):
    with each_postgres_server.database() as url:
        migrate(url)
        revert(url, revision="0008")
        with connect(url) as connection:
            connection.execute("SET ROLE optimization_service")
            connection.execute("INSERT INTO project_config VALUES ('shop', 'a')")
            (made, gone) = connection.execute(
                "INSERT INTO optimization_runs (project_id, run_name, optimizer_type) "
                "VALUES ('shop', 'made', 'rtb'), ('shop', 'gone', 'rtb') RETURNING id, updated_at"
            ).fetchall()
            connection.execute("INSERT INTO optimization_deleted_runs VALUES ('shop', %s)", [gone[0]])
            answers = {
                "made": f'{{"success": true, "data": {{"id": "{made[0]}"}}}}',
                "gone": f'{{"success": true, "data": {{"id": "{gone[0]}"}}}}',
                "batch": '{"success": true, "created": 1, "data": [{"id": 1}]}',
            }
            for key, answer in answers.items():
                connection.execute(
                    "INSERT INTO optimization_idempotency_keys VALUES ('shop', %s, %s, %s)",
                    [key, key.encode(), answer.encode()],
                )
        migrate(url)
        with connect(url) as connection:
            connection.execute("SET ROLE optimization_service")
            known = "SELECT id, updated_at, creation_key, creation_sha256 FROM optimization_runs ORDER BY run_name"
            found = connection.execute(known).fetchall()
            assert found == [(*gone, None, None), (*made, "made", b"made")]
            noted = "SELECT count(*) FROM optimization_audit WHERE action = 'update run'"
            assert connection.execute(noted).fetchone() == (0,)


def test_the_indexes_triggers_and_functions_have_the_names_of_the_document(each_tracking: Tracking):
    with each_tracking.connect() as connection:
        indexes = indexes_of(connection)
        triggers = {row[0] for row in connection.execute("SELECT tgname FROM pg_trigger").fetchall()}
        functions = {row[0] for row in connection.execute("SELECT proname FROM pg_proc").fetchall()}
    assert indexes >= INDEXES
    assert {
        "update_optimization_runs_updated_at",
        "update_run_statistics_from_iterations",
        "mark_best_iteration",
    } <= triggers
    assert {
        "get_optimization_run_summary",
        "get_top_runs_by_score",
        "refresh_optimization_analytics",
    } <= functions


def test_runs_split_by_project_keep_rows_policies_triggers_views_and_cascades(each_postgres_server: PostgresServer):
    with each_postgres_server.database() as url:
        migrate(url)
        with connect(url) as connection:
            connection.execute("SET ROLE optimization_service")
            connection.execute("INSERT INTO project_config VALUES ('proj_001', 'a'), ('proj_002', 'b'), ('other', 'c')")
            connection.execute(
                "INSERT INTO optimization_runs "
                "(project_id, run_name, optimizer_type, status, initial_score, final_score) "
                "SELECT id, 'r', 'rtb', 'completed', 1, n FROM project_config, generate_series(1, 10) AS n"
            )
            connection.execute("RESET ROLE")
            connection.execute(PARTITIONED.read_text())
            connection.execute("SET ROLE optimization_service")
            connection.execute(
                "INSERT INTO optimization_runs (project_id, run_name, optimizer_type) "
                "SELECT id, 'r', 'rtb' FROM project_config, generate_series(1, 10)"
            )
            connection.execute(
                "INSERT INTO optimization_iterations (project_id, run_id, iteration, score) "
                "SELECT project_id, id, n, n FROM optimization_runs, generate_series(1, 3) AS n"
            )
            query = "SELECT tableoid::regclass::text, count(*), sum(iterations), min(best_score), sum(improvement) "
            query += "FROM optimization_runs GROUP BY 1 ORDER BY 1"
            assert connection.execute(query).fetchall() == [
                ("optimization_runs_default", 20, 60, 3, 45),
                ("optimization_runs_proj_001", 20, 60, 3, 45),
                ("optimization_runs_proj_002", 20, 60, 3, 45),
            ]
            connection.execute("RESET ROLE")
            assert indexes_of(connection) >= INDEXES
            connection.execute("SET LOCAL ROLE optimization_app")
            connection.execute("SELECT refresh_optimization_analytics()")
            connection.execute("SELECT set_config('app.projects', '{proj_001}', true)")
            assert connection.execute("SELECT count(*) FROM optimization_runs").fetchone() == (20,)
            assert connection.execute("SELECT sum(total_runs) FROM optimization_analytics").fetchone() == (20,)
            judged = "SELECT iteration, count(*) FROM optimization_iterations_judged WHERE is_best GROUP BY 1"
            assert connection.execute(judged).fetchall() == [(3, 20)]
            top = "SELECT final_score FROM get_top_runs_by_score('proj_001', 2)"
            assert connection.execute(top).fetchall() == [(10,), (9,)]
            explain = "EXPLAIN SELECT * FROM optimization_runs WHERE project_id = 'proj_001'"
            plan = "\n".join(row[0] for row in connection.execute(explain).fetchall())
            given = '{"project_id": "proj_001", "run_name": "r", "optimizer_type": "rtb", "status": "pending", '
            given += '"direction": "maximize", "config": {}, "metadata": {}, "tags": []}'
            (made,) = connection.execute("SELECT id FROM optimization_create_run('x', %s, 1000)", [given]).fetchall()
            place = "SELECT tableoid::regclass::text FROM optimization_runs WHERE id = %s"
            assert connection.execute(place, made).fetchall() == [("optimization_runs_proj_001",)]
            assert "proj_001" in plan and "proj_002" not in plan
            connection.execute("DELETE FROM optimization_runs")
            assert connection.execute("SELECT count(*) FROM optimization_iterations").fetchone() == (0,)


def test_a_repeated_creation_finds_its_run_after_the_runs_were_split(each_postgres_server: PostgresServer):
    body, key = {"runName": "r", "optimizerType": "rtb"}, {"Idempotency-Key": "before"}
    with run_tracking(each_postgres_server) as tracking:
        shop = tracking.client("shop")
        run = shop.post("/runs", body, **key).json()["data"]
        with tracking.connect() as connection:
            connection.execute(PARTITIONED.read_text())
        assert shop.post("/runs", body, **key).json()["data"]["id"] == run["id"]
        first, again = (shop.post("/runs", body, **{"Idempotency-Key": "after"}).json()["data"] for _ in range(2))
        assert first["id"] == again["id"] != run["id"]
        assert shop.delete(f"/runs/{run['id']}").status_code == 200
        assert shop.post("/runs", body, **key).json()["data"]["id"] not in (run["id"], first["id"])
