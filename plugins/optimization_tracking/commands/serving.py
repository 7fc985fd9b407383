"""Commands that run the service: serve, migrate, refresh. They load it when they are called: it takes a second."""

from typing import Annotated

import typer

from optimization_tracking.connections import DEFAULT_POOL_SIZE, check_login, connect, require_url
from optimization_tracking.refreshing import REFRESH_S
from optimizer.errors import ConfigError
from optimizer.names import TRACKING_PREFIX

DEFAULT_PORT = 8400


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = DEFAULT_PORT,
    pool_size: Annotated[int, typer.Option(min=1, help="Connections to the database.")] = DEFAULT_POOL_SIZE,
    refresh_s: Annotated[float, typer.Option(min=1, help="Seconds between refreshes of the analytics.")] = REFRESH_S,
) -> None:
    """Serve the API as a standalone service, on the database of OPTIMIZER_TRACKING_URL; TLS is a proxy's work.

    The URL's login must not be the tables' owner or a member of optimization_service: it would see every project.
    """
    from optimization_tracking.app import create_app
    from optimization_tracking.listening import create_server

    url = require_url()
    check_login(url)
    app = create_app(database_url=url, prefix=TRACKING_PREFIX, pool_size=pool_size, refresh_s=refresh_s)
    create_server(app, host=host, port=port).run()


def migrate(
    to: Annotated[
        str | None,
        typer.Option("--to", help="Take the tables back to this earlier revision. What later ones added is lost."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the tables are taken back.")] = False,
) -> None:
    """Bring the tables of OPTIMIZER_TRACKING_URL to this code's revision."""
    from optimization_tracking import schema

    if to is None:
        typer.echo(f"the tracking database is at revision {schema.migrate(require_url())}")
        return
    if to == "base":
        raise ConfigError("base is before the first revision: nothing would be left; drop the database if you mean it")
    if not yes:
        typer.confirm(f"Take the tables back to revision {to}, and lose what later ones added?", abort=True, err=True)
    schema.revert(require_url(), revision=to)
    typer.echo(f"the tracking database is at revision {to}; install the release that has this revision")


def refresh() -> None:
    """Refresh the analytics now, e.g. from a cron job where no service runs."""
    with connect(require_url()) as connection:
        connection.execute("SET LOCAL ROLE optimization_app")
        row = connection.execute("SELECT refresh_optimization_analytics()").fetchone()
    typer.echo("refreshed" if row and row[0] else "another process is refreshing them just now")
