"""`keys create|list|revoke|rotate`: who may use the API. They need a login that is a member of optimization_service."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from optimization_tracking import keys
from optimization_tracking.connections import connect, require_url
from optimizer.presentation.formats import visible

Prefix = Annotated[str, typer.Argument(help="The beginning of the key, as `keys list` shows it.")]
ExpiresInDays = Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until the key expires.")]


def create(
    project: Annotated[str, typer.Argument(help="The project's id.")],
    name: Annotated[str, typer.Option(help="Who uses the key, for the list of keys.")] = "default",
    scope: Annotated[list[str] | None, typer.Option(help="read or write; default: both.")] = None,
    rate: Annotated[int, typer.Option(min=1, help="Requests a second.")] = keys.DEFAULT_RATE_PER_S,
    expires_in_days: ExpiresInDays = None,
    create_project: Annotated[bool, typer.Option("--create-project", help="Create a missing project.")] = False,
) -> None:
    """Make a key and print it, this once."""
    with connect(require_url()) as connection:
        if create_project:
            keys.ensure_project(connection, project)
        key, _ = keys.create_key(
            connection,
            project,
            name=name,
            scopes=tuple(scope or keys.SCOPES),
            rate_limit_per_s=rate,
            expires_at=_days_from_now(expires_in_days),
        )
    _print_key(key)


def show(project: Annotated[str | None, typer.Argument(help="Only keys of this project.")] = None) -> None:
    """List keys, without what is secret of them."""
    with connect(require_url()) as connection:
        found = keys.list_keys(connection, project_id=project)
    table = Table("project", "name", "key", "scopes", "a second", "created", "last used", "state", box=None)
    for key in found:
        moments = _moment(key.created_at), _moment(key.last_used_at)
        scopes, rate = " ".join(key.scopes), str(key.rate_limit_per_s)
        cells = (key.project_id, key.name, f"{key.prefix}…", scopes, rate, *moments, _state(key))
        table.add_row(*(Text(visible(cell)) for cell in cells))
    Console().print(table)


def revoke(prefix: Prefix) -> None:
    """End a key at once."""
    with connect(require_url()) as connection:
        ended = keys.revoke_key(connection, prefix)
    typer.echo(f"{ended.prefix}… of {ended.project_id} is revoked")


def rotate(
    prefix: Prefix,
    grace_hours: Annotated[float, typer.Option(min=0, max=8_760, help="How long the old key still works.")] = 24,
    expires_in_days: ExpiresInDays = None,
) -> None:
    """Make a key like this one and print it; the old one works on until the time of grace is over.

    The new key ends when the old one would have, unless --expires-in-days says otherwise.
    """
    ends = _days_from_now(expires_in_days)
    with connect(require_url()) as connection:
        key, made, old = keys.rotate_key(connection, prefix, grace=timedelta(hours=grace_hours), expires_at=ends)
    _print_key(key)
    if made.expires_at is not None:
        typer.echo(f"It works until {_moment(made.expires_at)}.", err=True)
    typer.echo(f"{old.prefix}… works until {_moment(old.expires_at)}", err=True)


def _days_from_now(days: int | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def _print_key(key: str) -> None:
    typer.echo(key)
    typer.echo("Keep it now: it is shown this once.", err=True)


def _state(key: keys.ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_moment(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    verb = "expired" if key.expires_at <= datetime.now(UTC) else "until"
    return f"{verb} {_moment(key.expires_at)}"


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
