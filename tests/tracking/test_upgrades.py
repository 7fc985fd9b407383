"""A service works on the tables of the next release, and tables go back to an earlier one by command."""

from servers.postgres import PostgresServer
from typer.testing import CliRunner

from optimization_tracking.commands.main import app
from optimization_tracking.connections import connect
from optimization_tracking.schema import current_revision, head_revision, migrate, revert
from optimizer.names import TRACKING_URL_VARIABLE


def test_the_tables_go_back_to_an_earlier_revision_and_to_no_other(each_postgres_server: PostgresServer):
    def command(*arguments: str) -> str:
        return (
            CliRunner().invoke(app, ["migrate", *arguments], env={TRACKING_URL_VARIABLE: url, "COLUMNS": "300"}).output
        )

    with each_postgres_server.database() as url:
        command()
        assert "back to revision 0006, and lose" in command("--to", "0006")  # not confirmed
        assert current_revision(url) == head_revision()
        assert "is at revision 0006; install the release" in command("--to", "0006", "--yes")
        assert current_revision(url) == "0006"
        for revision in ("0007", "0006", "nothing"):
            assert "choose one of 0001, 0002, 0003, 0004, 0005\n" in command("--to", revision, "--yes")
        assert "nothing would be left" in command("--to", "base", "--yes")
        command()
        assert current_revision(url) == head_revision()


def test_tables_of_a_later_release_are_left_alone(postgres_server: PostgresServer):
    with postgres_server.database() as url:
        migrate(url)
        with connect(url) as connection:
            connection.execute("UPDATE optimization_schema_version SET version_num = '9999'")
        for arguments in (["migrate"], ["migrate", "--to", "0006", "--yes"]):
            done = CliRunner().invoke(app, arguments, env={TRACKING_URL_VARIABLE: url, "COLUMNS": "300"})
            assert (
                done.exit_code == 1 and "is at revision 9999, newer than this code; update the package" in done.stderr
            )
        assert current_revision(url) == "9999"


def test_a_service_of_an_earlier_revision_finds_its_tables_and_functions_in_the_newest(postgres_server: PostgresServer):
    revisions = [f"{number:04}" for number in range(1, int(head_revision()))]
    with postgres_server.database() as url:
        migrate(url)
        columns, functions = read_columns(url), read_functions(url)
        for revision in reversed(revisions):
            revert(url, revision=revision)
            earlier = read_columns(url)
            assert earlier.items() <= columns.items(), revision
            assert read_functions(url) <= functions, revision
            known = {table for table, _ in earlier}
            added = {key: columns[key] for key in columns.keys() - earlier.keys() if key[0] in known}
            assert [
                key for key, (_, may_be_null, default) in added.items() if not may_be_null and default is None
            ] == []


def read_columns(url: str) -> dict[tuple[str, str], tuple[str, bool, str | None]]:
    """Return {(table, column): (type, whether it may be NULL, default or formula)} of tables, without views."""
    query = """SELECT table_name, column_name, data_type, is_nullable, coalesce(column_default, generation_expression)
        FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"""
    with connect(url) as connection:
        return {(row[0], row[1]): (row[2], row[3] == "YES", row[4]) for row in connection.execute(query).fetchall()}


def read_functions(url: str) -> set[tuple[str, str]]:
    """Return name and arguments of the functions."""
    query = """SELECT proname, pg_get_function_identity_arguments(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace"""
    with connect(url) as connection:
        return set(connection.execute(query).fetchall())
