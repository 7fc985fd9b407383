"""The page of the commands, from the three command lines themselves."""

from collections.abc import Iterator
from typing import Any

import typer

from lab.reference.markdown import code, table
from lab.stack import commands as demo
from optimization_tracking.commands.main import app as tracking
from optimizer.bidder.commands import app as bidder
from optimizer.cli.lazy import LazyCommand
from optimizer.cli.main import app as optimizer

_INTRODUCTION = """\
# Commands

Each command explains itself with `--help`. The package installs `optimizer`. The other two are Python modules: run them
with the Python of the same environment (`.venv/bin/python` in a checkout).
"""

_OPTIMIZER = """\
Reads and writes the control plane of `OPTIMIZER_CONTROL_PLANE_URL`. In a checkout, every command below takes `--local`,
which uses the demo's systems instead.
"""

_DEMO = """\
Only in a checkout: the demo's own systems, on this machine.
"""

_BIDDER = """\
Settings come from the environment; see [the bidder](../bidder.md).
"""

_TRACKING = """\
Settings come from the environment; see [tracking](../tracking.md).
"""

_DEMO_COMMANDS = ("demo", "up", "down", "env")
_HIDDEN = {"help", "install_completion", "local", "show_completion"}


def command_line_page() -> str:
    """Return the page."""
    own = {name: command for name, command in _commands(optimizer) if name not in _DEMO_COMMANDS}
    programs = (
        ("optimizer", _OPTIMIZER, own),
        ("optimizer", _DEMO, dict(_commands(_demo_app()))),
        ("python -m optimizer.bidder", _BIDDER, dict(_commands(bidder))),
        ("python -m optimization_tracking", _TRACKING, dict(_commands(tracking))),
    )
    titles = ("The optimizer", "The demo", "The bidder", "Tracking")
    parts = [_INTRODUCTION]
    for title, (program, text, commands) in zip(titles, programs, strict=True):
        parts.append(f"## {title}\n\n{text}")
        parts += [_section(f"{program} {name}", command) for name, command in commands.items()]
    return "\n".join(parts)


def _demo_app() -> typer.Typer:
    app = typer.Typer()
    for name in _DEMO_COMMANDS:
        app.command(name)(getattr(demo, name))
    return app


def _commands(app: typer.Typer) -> Iterator[tuple[str, Any]]:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        if children := getattr(command, "commands", None):
            yield from ((f"{name} {child}", it) for child, it in children.items())
        else:
            yield name, command.loaded if isinstance(command, LazyCommand) else command


def _section(title: str, command: Any) -> str:
    shown = [it for it in command.params if it.name not in _HIDDEN and not it.hidden]
    arguments = [it for it in shown if it.param_type_name == "argument"]
    usage = " ".join(
        [title, *(_argument(it) for it in arguments), *(["[OPTIONS]"] if len(shown) > len(arguments) else [])]
    )
    rows = [[code(_names(it)), _help(it), _default(it)] for it in shown]
    parameters = f"\n{table(['Parameter', 'Meaning', 'Default'], rows)}" if rows else ""
    return f"### {title}\n\n{' '.join((command.help or '').split())}\n\n```\n{usage}\n```\n{parameters}"


def _argument(parameter: Any) -> str:
    name = _names(parameter)
    name += "..." if parameter.nargs == -1 and not name.endswith("...") else ""
    return name if parameter.required else f"[{name}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return (parameter.metavar or parameter.name.upper()).strip("[]")
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def _help(parameter: Any) -> str:
    text = parameter.help or ""
    variables = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []
    return " ".join([text, *(f"Also from {code(name)}." for name in variables)]).strip()


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    is_missing = default is None or default is False or default == () or callable(default)
    return "" if is_missing else code(str(getattr(default, "value", default)))
