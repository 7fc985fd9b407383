"""The `optimizer` command."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console

from optimizer.cli import deploying, explaining, living, looking, operating, stack
from optimizer.errors import OptimizerError

app = typer.Typer(
    help="RTB optimizer: what was bid, won and clicked, and what to bid next.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _reporting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with our own errors as one line on standard error and exit status 1."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except OptimizerError as error:
            Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            sys.exit(1)

    return run


for command in (
    looking.runs,
    looking.show,
    looking.outputs,
    looking.entities,
    looking.config,
    explaining.explain,
    explaining.diff,
    deploying.deploy,
    deploying.rollback,
    living.live,
    operating.cancel,
    operating.doctor,
    stack.migrate,
    stack.demo,
    stack.up,
    stack.down,
    stack.env,
):
    app.command()(_reporting(command))
app.command("deployments")(_reporting(deploying.show_deployments))

if __name__ == "__main__":
    app()
