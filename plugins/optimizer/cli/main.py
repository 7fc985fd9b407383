"""The `optimizer` command: every command under its name."""

import inspect as signatures
from collections.abc import Callable
from functools import wraps
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

from optimizer.cli import configure, deploy, explain, funnel, inspect, operate, performance, retention, status, what_if
from optimizer.cli.local import using_local_systems
from optimizer.presentation.commands import reporting_errors

COMMAND_ENTRY_POINTS = "optimizer.commands"
"""The entry-point group with further commands: a checkout registers the demo's there."""

_LOCAL = signatures.Parameter(
    "local",
    signatures.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--local", help="Use the demo's systems.")],
)

app = typer.Typer(
    help="RTB optimizer: learns from bids, wins and clicks, and sets the next bids.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def with_local_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with --local."""

    @wraps(command)
    def run(*args: Any, local: bool, **kwargs: Any) -> Any:
        if not local:
            return command(*args, **kwargs)
        with using_local_systems():
            return command(*args, **kwargs)

    signature = signatures.signature(command)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), _LOCAL])  # type: ignore[attr-defined]
    return run


def _add(command: Callable[..., Any], name: str | None = None) -> None:
    app.command(name)(reporting_errors(with_local_option(command)))


for _command in (
    inspect.runs,
    inspect.show,
    inspect.outputs,
    inspect.entities,
    inspect.config,
    configure.configure,
    explain.explain,
    explain.diff,
    what_if.what_if,
    deploy.deploy,
    deploy.rollback,
    deploy.pin,
    deploy.unpin,
    deploy.control,
    deploy.canary,
    performance.live,
    funnel.funnel,
    status.status,
    operate.cancel,
    operate.doctor,
    operate.confirm_entities,
    retention.retention,
    operate.migrate,
):
    _add(_command)
_add(deploy.show_deployments, "deployments")
_add(deploy.show_audit, "audit")
for _found in sorted(entry_points(group=COMMAND_ENTRY_POINTS), key=lambda found: found.name):
    app.command(_found.name, rich_help_panel="Demo")(reporting_errors(_found.load()))

if __name__ == "__main__":
    app()
