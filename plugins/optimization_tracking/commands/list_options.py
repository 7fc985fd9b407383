"""What the commands that read have in common: the client, the filters of a list, a run by its id or name."""

from typing import Annotated, Any
from uuid import UUID

import typer

from optimization_tracking.client import TrackingClient
from optimization_tracking.models.runs import RunWithIterations
from optimizer.errors import ConfigError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or its name: the newest of that name.")]
Statuses = Annotated[list[str] | None, typer.Option("--status", help="Only of these statuses.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only of these optimizer types.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Only with all of these tags.")]
Search = Annotated[str | None, typer.Option(help="Only with this text in the name.")]
Config = Annotated[str | None, typer.Option(help='Only with this JSON in the config, as {"depth": 6}.')]
Metadata = Annotated[str | None, typer.Option(help="Only with this JSON object in the metadata.")]


def connect() -> TrackingClient:
    """Return a client of the service that OPTIMIZER_TRACKING_API_URL and OPTIMIZER_TRACKING_KEY name."""
    return TrackingClient.from_environment()


def filters(**given: Any) -> dict[str, Any]:
    """Return the filters that were given."""
    return {name: value for name, value in given.items() if value not in (None, [])}


def find_run(client: TrackingClient, name: str, *, iterations: int = 0) -> RunWithIterations:
    """Return a run with its first iterations.

    Raises:
        ConfigError: the text is not an id, and no run has that name.
    """
    detail = {"iteration_limit": iterations} if iterations else {"include_iterations": False}
    try:
        return client.read_run(UUID(name), **detail)
    except ValueError:
        pass
    if name and (found := client.list_runs(run_name=name, limit=1, include_total=False).data):
        return client.read_run(found[0].id, **detail)
    raise ConfigError(f"no run is called {name!r}; `list --search` finds runs by a part of their name")
