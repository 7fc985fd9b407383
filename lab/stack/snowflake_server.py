"""The local warehouse: fakesnow behind TLS and a login, its databases kept as files in one folder.

Run as `python -m lab.stack.snowflake_server --port 8443 --folder … --certificate … --private-key …`; the one
user and its password come from OPTIMIZER_WAREHOUSE_USER and OPTIMIZER_WAREHOUSE_PASSWORD.
"""

import argparse
import gzip
import hmac
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

LOGIN_PATH = "/session/v1/login-request"
QUERY_PATH = "/queries/v1/query-request"

MEMORY = "4GB"
"""Memory that all queries of the local warehouse share; the rest goes to disk."""

# What Snowflake itself answers, so that the connector raises its own DatabaseError.
DENIED = {
    "data": None,
    "code": "390100",
    "message": "Incorrect username or password was specified.",
    "success": False,
    "headers": None,
}


def build_app(folder: Path, *, user: str, password: str):
    """Return the ASGI app that serves the databases in `folder` to one user."""
    import fakesnow.server
    from fakesnow.instance import FakeSnow
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Mount, Route

    _report_database_errors()
    fakesnow.server.shared_fs = FakeSnow(db_path=folder)
    _bound_memory(fakesnow.server.shared_fs.duck_conn, spilled=folder / "spilled")
    for database in sorted(folder.glob("*.db")):
        fakesnow.server.shared_fs.connect(database.stem)

    async def login(request: Request) -> Response:
        body, encoding = await request.body(), request.headers.get("Content-Encoding")
        if not is_known_login(body, encoding=encoding, user=user, password=password):
            return JSONResponse(DENIED)
        return await fakesnow.server.login_request(request)

    async def query(request: Request) -> Response:
        answer = await fakesnow.server.query_request(request)
        # The connector repeats an HTTP 500 without end.
        return JSONResponse(_failed_statement(answer.body)) if answer.status_code >= 500 else answer

    routes = [Route(LOGIN_PATH, login, methods=["POST"]), Route(QUERY_PATH, query, methods=["POST"])]
    return Starlette(routes=[*routes, Mount("/", app=fakesnow.server.app)])


def _bound_memory(database: Any, *, spilled: Path) -> None:
    """Let DuckDB write what exceeds MEMORY to a folder; left alone it takes 80 % of the machine's memory."""
    database.execute("SET GLOBAL memory_limit = ?", [MEMORY])
    database.execute("SET GLOBAL temp_directory = ?", [str(spilled)])


def is_known_login(body: bytes, *, encoding: str | None, user: str, password: str) -> bool:
    """Return whether a login body names the user, in any case as Snowflake does, and exactly its password."""
    try:
        data = _login_data(gzip.decompress(body) if encoding == "gzip" else body)
        given_user, given_password = data["LOGIN_NAME"].upper(), data["PASSWORD"]
        is_user = hmac.compare_digest(given_user.encode(), user.upper().encode())
        return hmac.compare_digest(given_password.encode(), password.encode()) and is_user
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _login_data(body: bytes) -> dict[str, Any]:
    return json.loads(body)["data"]


def _report_database_errors() -> None:
    """Let every error of DuckDB reach the client as a failed statement; fakesnow hides those it did not expect."""
    import duckdb
    from fakesnow.cursor import FakeSnowflakeCursor
    from snowflake.connector.errors import ProgrammingError

    execute = FakeSnowflakeCursor.execute

    def execute_or_report(cursor: Any, *args: Any, **options: Any) -> Any:
        try:
            return execute(cursor, *args, **options)
        except duckdb.Error as error:
            raise ProgrammingError(msg=str(error), errno=100132, sqlstate="P0000") from error

    FakeSnowflakeCursor.execute = execute_or_report


def _failed_statement(answer: bytes) -> dict[str, Any]:
    failure = json.loads(answer)
    code, message = failure["code"], f"{failure['message']}; the warehouse's log has the reason"
    return {"data": {"errorCode": code, "sqlState": "XX000"}, "code": code, "message": message, "success": False}


def _keep_stages_in(folder: Path) -> None:
    """Give fakesnow's stages a folder that each start empties: it never removes the temporary one that it makes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    tempfile.tempdir = str(folder)


def serve(folder: Path, *, address: str, port: int, certificate: Path, private_key: Path) -> None:
    """Serve the databases of the folder until a signal ends the process; the login is in the environment."""
    import uvicorn

    _keep_stages_in(folder / "stages")
    user, password = os.environ["OPTIMIZER_WAREHOUSE_USER"], os.environ["OPTIMIZER_WAREHOUSE_PASSWORD"]
    uvicorn.run(
        build_app(folder, user=user, password=password),
        host=address,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
        access_log=False,
        timeout_graceful_shutdown=2,
    )


def main() -> None:
    """Serve on this machine's loopback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    for name in ("--folder", "--certificate", "--private-key"):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args()
    serve(address="127.0.0.1", **vars(options))


if __name__ == "__main__":
    main()
