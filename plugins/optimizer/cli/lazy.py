"""Commands that are imported when they run: what one of them needs costs the others nothing."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import typer
from typer.core import TyperCommand


class LazyCommand(TyperCommand):
    """A command of which the list of commands shows the summary, and no more is known before it runs.

    Args:
        load: imports the function that typer makes the command of.
        summary: the first paragraph of its docstring.
        panel: the heading in the list of commands; None for the usual one.
    """

    def __init__(self, name: str, load: Callable[[], Callable[..., Any]], *, summary: str, panel: str | None = None):
        super().__init__(name, help=summary, rich_help_panel=panel)
        self._load = load

    @cached_property
    def loaded(self) -> TyperCommand:
        """The command itself, with its options."""
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(self.name)(self._load())
        return cast(TyperCommand, typer.main.get_command(alone))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the context of the command itself, which is what runs, and what explains and completes its options."""
        return self.loaded.make_context(*args, **kwargs)
