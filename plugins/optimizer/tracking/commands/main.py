"""`python -m optimizer.tracking`: every group of commands under its name."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console

from optimizer.errors import OptimizerError
from optimizer.tracking.commands import exporting, keys, reading, resuming, serving, watching

app = typer.Typer(
    help="Optimization tracking: runs, iterations and samples of any optimizer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def reporting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with our own errors as one line on standard error and exit status 1."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except OptimizerError as error:
            Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            sys.exit(1)

    return run


def add_group(name: str, help_text: str, **commands: Callable[..., Any]) -> None:
    """Add commands, each under its name, to a group, as `keys create`."""
    group = typer.Typer(help=help_text, no_args_is_help=True)
    for command_name, command in commands.items():
        group.command(command_name)(reporting(command))
    app.add_typer(group, name=name)


for command in (serving.serve, serving.migrate, serving.refresh):
    app.command(rich_help_panel="Service")(reporting(command))
app.command("list", rich_help_panel="Runs")(reporting(reading.list_runs))
for command in (reading.show, reading.top, reading.compare, watching.watch, exporting.export, resuming.resume):
    app.command(rich_help_panel="Runs")(reporting(command))
add_group("keys", "API keys of projects.", create=keys.create, list=keys.show, revoke=keys.revoke, rotate=keys.rotate)
