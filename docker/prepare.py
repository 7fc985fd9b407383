"""Prepare the systems of the containers for the optimizer; every part can be repeated.

Makes the accounts of the control plane, its tables, their rights and the example entities; the bucket; the
warehouse's event tables; tracking's tables, and the project and key of the optimizer's own runs; with --demo-log also a
generated log of the 60 days before today.
"""

import argparse
import os
import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from lab.stack.catalogue import BUCKET, load_catalogue
from lab.stack.event_log import LOG_BIDS, create_tables, load_generated_log
from optimization_tracking.connections import connect, require_url
from optimization_tracking.keys import ensure_key, ensure_project
from optimization_tracking.schema import migrate as migrate_tracking
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.schema import migrate
from optimizer.names import TRACKING_KEY_VARIABLE, TRACKING_PROJECT
from optimizer.orchestration.connections import connect_systems
from optimizer.sql_files import sql_folder

GRANTS = sql_folder("mysql") / "grants.sql"
PASSWORD_VARIABLES = {
    "optimizer_ui": "OPTIMIZER_UI_PASSWORD",
    "optimizer_app": "OPTIMIZER_APP_PASSWORD",
    "optimizer_console": "OPTIMIZER_CONSOLE_PASSWORD",
    "optimizer_bidder": "OPTIMIZER_BIDDER_PASSWORD",
    "optimizer_operator": "OPTIMIZER_OPERATOR_PASSWORD",
}


def prepare_control_plane(engine: Engine) -> None:
    """Accounts, then tables, then rights: a right needs both. The engine's account is the server's administrator."""
    with transaction(engine) as connection:
        for account, variable in PASSWORD_VARIABLES.items():
            for statement in ("CREATE USER IF NOT EXISTS", "ALTER USER"):
                login = {"password": os.environ[variable]}
                connection.execute(text(f"{statement} '{account}'@'%' IDENTIFIED BY :password"), login)
    migrate(engine)
    with transaction(engine) as connection:
        for statement in read_grants():
            connection.execute(text(statement))
    load_catalogue(engine)


def read_grants() -> list[str]:
    """Return the rights of the accounts; the command line's has those of the tasks' account and of the console's."""
    grants = read_statements(GRANTS)
    of_both = [grant for grant in grants if "'optimizer_app'@" in grant or "'optimizer_console'@" in grant]
    operator = [re.sub("'optimizer_(app|console)'@", "'optimizer_operator'@", grant) for grant in of_both]
    return [*grants, *operator]


def read_statements(path: Path) -> list[str]:
    """Return the statements of a script that has semicolons and double hyphens in its comments and ends only."""
    script = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
    return [statement.strip() for statement in script.split(";") if statement.strip()]


def prepare_tracking(url: str, *, key: str) -> None:
    """Tables, then the project of the optimizer's own runs and the key that they report with."""
    migrate_tracking(url)
    with connect(url) as connection:
        ensure_project(connection, TRACKING_PROJECT)
        ensure_key(connection, TRACKING_PROJECT, name="optimizer runs", key=key)


def ensure_bucket(client: Any) -> None:
    """Make the bucket of the example entities unless it is there."""
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)


def main() -> None:
    """Prepare everything, through the connections that the tasks use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo-log", action="store_true", help="load the generated log, about 1.5 million bids")
    options = parser.parse_args()
    engine = open_engine(os.environ["OPTIMIZER_CONTROL_PLANE_URL"])
    prepare_control_plane(engine)
    engine.dispose()
    prepare_tracking(require_url(), key=os.environ[TRACKING_KEY_VARIABLE])
    systems = connect_systems()
    ensure_bucket(systems.store.client)
    with closing(systems.connect_warehouse()) as connection:
        create_tables(connection)
        if options.demo_log:
            marker = Path(os.environ["OPTIMIZER_STATE_DIR"]) / "event_log.json"
            load_generated_log(connection, end_day=datetime.now(UTC).date(), bids=LOG_BIDS, marker=marker)
    print("the control plane, the bucket and the tables of the warehouse and of tracking are ready")


if __name__ == "__main__":
    main()
