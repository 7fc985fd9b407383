"""The commands of the demo: demo, up, down, env. `optimizer` finds them by their entry points.

It shows them in its list of commands, so this module imports what a command needs only when the command runs.
"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from optimizer.errors import ConfigError

DEFAULT_ENTITY = "drugs_hcp"

LogFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Parquet or CSV in the warehouse's columns.")
]


def up() -> None:
    """Start the embedded stack with Airflow's UI, scheduler and triggerer, and print address and login."""
    from lab.stack.demo_run import start_all

    start_all()


def down() -> None:
    """Stop the embedded stack; tables and objects stay."""
    from lab.stack.stack import LocalStack

    LocalStack.open().stop()
    typer.echo("the embedded stack is stopped")


def env(name: Annotated[str | None, typer.Argument(help="Only the value of this variable.")] = None) -> None:
    """Print the embedded stack's environment for a shell, secrets included: eval "$(optimizer env)"."""
    from lab.stack.stack import LocalStack

    variables = LocalStack.open().environment()
    if name is None:
        for variable, value in variables.items():
            typer.echo(f"export {variable}={shlex.quote(value)}")
    elif name in variables:
        typer.echo(variables[name])
    else:
        raise ConfigError(f"the embedded stack sets no {name}; it sets {', '.join(variables)}")


def demo(
    entity: Annotated[str, typer.Option(help="The entity to run.")] = DEFAULT_ENTITY,
    bids: LogFile = None,
    views: LogFile = None,
    clicks: LogFile = None,
) -> None:
    """Run one entity on a generated log with live days, or on your own with --bids, --views and --clicks."""
    from lab.stack.demo_run import run_demo

    own = {name: path for name, path in {"bids": bids, "views": views, "clicks": clicks}.items() if path is not None}
    if own and len(own) < 3:
        raise ConfigError(f"--{' and --'.join(own)} alone make no log; give --bids, --views and --clicks together")
    run_demo(entity, own)
