"""The command that changes a client's config values."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from optimizer.cli.control_plane import connect
from optimizer.cli.options import AsJson, By, EntityCode, author_of
from optimizer.control_plane.entity_values import read_values
from optimizer.errors import ConfigError
from optimizer.presentation.terminal import console, print_json, print_table
from optimizer.runs.requests import change_config

Changes = Annotated[
    list[str], typer.Argument(metavar="KEY=VALUE...", help="Values to set; KEY= removes one, so its default counts.")
]
Comment = Annotated[str, typer.Option(help="Why, for the audit.")]


def configure(entity: EntityCode, changes: Changes, comment: Comment, by: By = None, as_json: AsJson = False) -> None:
    """Change config values of an entity; the next run takes them."""
    engine, wanted = connect(), _parse(changes)
    before = {key: value.config_value for key, value in read_values(engine, entity).items()}
    kept = change_config(engine, entity, wanted, author=author_of(by, comment), now=datetime.now(UTC))
    if as_json:
        return print_json({key: value.model_dump() for key, value in kept.items()})
    rows = [[key, before.get(key, "default"), "default" if value is None else value] for key, value in wanted.items()]
    print_table(f"Configuration of {entity}", ["key", "before", "now"], rows)
    console.print(Text("The next run takes these values; runs in progress keep theirs."))


def _parse(changes: list[str]) -> dict[str, str | None]:
    wanted: dict[str, str | None] = {}
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator or not key or key in wanted:
            raise ConfigError(f"{change!r} is not a new KEY=VALUE; write for example target_win_rate=0.35")
        wanted[key] = value or None
    return wanted
