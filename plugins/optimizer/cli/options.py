"""Arguments and options that several commands have."""

import getpass
from typing import Annotated

import typer

from optimizer.control_plane.audit import Author
from optimizer.errors import ConfigError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run_id, as `optimizer runs` shows it.")]
EntityCode = Annotated[str, typer.Argument(metavar="ENTITY", help="The entity_code.")]
By = Annotated[str | None, typer.Option(help="The name to record; default: the account that is logged in.")]
Comment = Annotated[str, typer.Option(help="Why, for the history and the audit.")]


def author_of(by: str | None, comment: str) -> Author:
    """Return the author of a change: the name given with --by, else the account that is logged in.

    Raises:
        ConfigError: the name is empty, too long, or that of a part of the system; the comment is too long.
    """
    if by is not None and not by.strip():
        raise ConfigError("--by is empty; give the name to record, or leave --by out to record the logged-in account")
    return Author((by or getpass.getuser()).strip(), comment=comment.strip())
