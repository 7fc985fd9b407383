"""`python -m optimization_tracking`: every group of commands under its name."""

from collections.abc import Callable
from typing import Any

import typer

from optimization_tracking.commands import comparing, exporting, keys, reading, resuming, serving, watching
from optimizer.presentation.commands import reporting_errors

app = typer.Typer(
    help="Optimization tracking: runs, iterations and samples of any optimizer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def add_group(name: str, help_text: str, **commands: Callable[..., Any]) -> None:
    """Add commands, each under its name, to a group, as `keys create`."""
    group = typer.Typer(help=help_text, no_args_is_help=True)
    for command_name, command in commands.items():
        group.command(command_name)(reporting_errors(command))
    app.add_typer(group, name=name)


_SERVICE: tuple[Callable[..., Any], ...] = (serving.serve, serving.migrate, serving.refresh)
_RUNS: tuple[Callable[..., Any], ...] = (
    *(reading.show, reading.top, reading.compare, comparing.groups, comparing.trend),
    *(watching.watch, exporting.export, resuming.resume),
)

for command in _SERVICE:
    app.command(rich_help_panel="Service")(reporting_errors(command))
app.command("list", rich_help_panel="Runs")(reporting_errors(reading.list_runs))
for command in _RUNS:
    app.command(rich_help_panel="Runs")(reporting_errors(command))
add_group("keys", "API keys of projects.", create=keys.create, list=keys.show, revoke=keys.revoke, rotate=keys.rotate)
