"""What all command lines have in common: our own errors in one line, and which extra a command needs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from optimizer.errors import OptimizerError
from optimizer.presentation.formats import visible


def reporting_errors(command: Callable[..., Any], *, status: int = 1) -> Callable[..., Any]:
    """Return the command with our own errors as one line on standard error and this exit status."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except OptimizerError as error:
            from rich.console import Console

            Console(stderr=True).print(f"error: {visible(str(error))}", style="red", markup=False, soft_wrap=True)
            sys.exit(status)

    return run


@contextmanager
def requiring_extra(name: str) -> Iterator[None]:
    """End the process with the name of the extra where a module that it installs is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("optimizer", "optimization_tracking"):
            raise
        sys.exit(
            f"error: the module {error.name} is missing; the extra `{name}` installs it: "
            f"pip install 'rtb-optimizer[{name}]'"
        )
