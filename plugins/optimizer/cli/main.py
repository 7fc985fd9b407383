"""The `optimizer` command: every command under its name, with the module that has it."""

import inspect as signatures
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from optimizer.cli.lazy import LazyCommand
from optimizer.cli.local import using_local_systems
from optimizer.presentation.commands import reporting_errors, requiring_extra

COMMAND_ENTRY_POINTS = "optimizer.commands"
"""The entry-point group with further commands: a checkout registers the demo's there."""

_LOCAL = signatures.Parameter(
    "local",
    signatures.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--local", help="Use the demo's systems.")],
)

COMMANDS = {
    "runs": ("inspect:runs", "List runs, the newest first."),
    "show": ("show:show", "Show one run: its numbers, features and metrics."),
    "outputs": ("inspect:outputs", "List the objects of a run and where they are."),
    "entities": ("inspect:entities", "List the entities, with what is live and what is wrong."),
    "config": ("inspect:config", "Show an entity's effective configuration and where each value comes from."),
    "configure": ("configure:configure", "Change config values of an entity; the next run takes them."),
    "explain": ("explain:explain", "Show how the bid of one segment was computed, number by number."),
    "diff": ("explain:diff", "Show what changed between two runs, and why."),
    "what-if": (
        "what_if:what_if",
        "Show what other settings would bring, without training: now against proposed, with 95 % intervals.",
    ),
    "deploy": (
        "deploy:deploy",
        "Split an entity's traffic between validated runs, by hand. The control keeps its share.",
    ),
    "rollback": ("deploy:rollback", "Go back to the split before the present one; once more goes back further."),
    "pin": ("deploy:pin", "Keep the active split: scheduled runs do not replace it."),
    "unpin": ("deploy:unpin", "Let scheduled runs replace the active split again."),
    "control": (
        "deploy:control",
        "Show the entity's control, or choose the run whose bids the control share gets from the next split on.",
    ),
    "canary": (
        "deploy:canary",
        "Show the run that is tried on part of the traffic, pause it at its step, let it go on, or take it off.",
    ),
    "live": (
        "performance:live",
        "Show an entity's live runs next to their forecast and the other run of the split, and what is wrong.",
    ),
    "funnel": (
        "funnel:funnel",
        "Show how many impressions got from the bid request to the click, and what to do about each loss.",
    ),
    "status": (
        "status:status",
        "Show each entity's readiness, its live split, and win rates: target, forecast and live.",
    ),
    "cancel": ("operate:cancel", "Cancel a pending or running run; its tasks notice within half a minute and stop."),
    "doctor": (
        "doctor:doctor",
        "Check the consistency of control plane, Airflow and object store; exit status 1 on findings.",
    ),
    "confirm-entities": (
        "operate:confirm_entities",
        "Let the DAGs of removed entities go, after many were removed at once; the next parse believes this number.",
    ),
    "retention": (
        "retention:retention",
        "Remove old objects of runs: show them, ask, remove. Runs that are live or were lately keep theirs.",
    ),
    "migrate": (
        "migrate:migrate",
        "Bring the control plane's tables to this code's revision, and load its version with every config key.",
    ),
    "deployments": ("deploy:show_deployments", "Show an entity's traffic split and those before it, the newest first."),
    "audit": ("deploy:show_audit", "Show who changed what of an entity, the newest first."),
}
"""Name: the module below optimizer.cli with the function, and the first paragraph of the function's docstring."""


class Commands(TyperGroup):
    """All commands; a command's module is imported when the command runs."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, (place, summary) in COMMANDS.items():
            self.add_command(LazyCommand(name, partial(_find, place), summary=summary))
        for found in sorted(entry_points(group=COMMAND_ENTRY_POINTS), key=lambda found: found.name):
            command = found.load()
            self.add_command(
                LazyCommand(found.name, partial(reporting_errors, command), summary=summary_of(command), panel="Demo")
            )


app = typer.Typer(
    cls=Commands,
    callback=lambda: None,
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


def summary_of(command: Callable[..., Any]) -> str:
    """Return the first paragraph of the command's docstring, in one line."""
    return " ".join((command.__doc__ or "").split("\n\n")[0].split())


def _find(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    with requiring_extra("cli"):
        command = getattr(import_module(f"optimizer.cli.{module}"), name)
    return reporting_errors(with_local_option(command))


if __name__ == "__main__":
    app()
