"""The command that makes the control plane's tables."""

from typing import Annotated

import typer
from rich.text import Text

from optimizer.cli.control_plane import connect
from optimizer.control_plane.schema import current_revision, revert
from optimizer.control_plane.schema import migrate as migrate_schema
from optimizer.control_plane.version_rows import load_version
from optimizer.errors import ConfigError
from optimizer.presentation.terminal import console

To = Annotated[
    str | None,
    typer.Option("--to", help="Take the tables back to this earlier revision. What later ones added is lost."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before the tables are taken back.")]


def migrate(to: To = None, yes: Yes = False) -> None:
    """Bring the control plane's tables to this code's revision, and load its version with every config key."""
    engine = connect()
    if to is None:
        revision = migrate_schema(engine)
        console.print(f"the control plane is at revision {revision}, with version {load_version(engine)}")
        return
    if to == "base":
        raise ConfigError("base is before the first revision: nothing would be left; drop the database if you mean it")
    if not yes:
        question = f"Take the tables from revision {current_revision(engine)} back to {to}, and lose what it added?"
        typer.confirm(question, abort=True, err=True)
    revert(engine, revision=to)
    console.print(Text(f"the control plane is at revision {to}; install the release that has this revision"))
