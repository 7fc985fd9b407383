"""`--local`: a command on the demo's systems. The stack is part of a checkout, not of the package."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib.metadata import entry_points
from typing import Protocol

from optimizer.errors import ConfigError

ENTRY_POINTS = "optimizer.local"
"""The entry-point group in which a checkout registers its stack, under the name `stack`."""


class LocalSystems(Protocol):
    """The demo's systems, as a command needs them."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables that name the systems, secrets included.

        Raises:
            ConfigError: the demo does not exist yet.
        """
        ...

    def running_objects(self) -> AbstractContextManager[None]:
        """Keep the object store running; one that was down stops at the end."""
        ...


_current: ContextVar[LocalSystems | None] = ContextVar("local_systems", default=None)


@contextmanager
def using_local_systems() -> Iterator[None]:
    """Use the demo's systems inside the block.

    Raises:
        ConfigError: the package is installed without a checkout, or the demo does not exist yet.
    """
    found = next(iter(entry_points(group=ENTRY_POINTS, name="stack")), None)
    if found is None:
        raise ConfigError(
            "--local needs the demo's stack, which is in a checkout of the project and not in the package; "
            "run it there after `make demo`"
        )
    systems: LocalSystems = found.load()()
    before = dict(os.environ)
    token = _current.set(systems)
    try:
        os.environ.update(systems.environment())
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        _current.reset(token)


def running_objects() -> AbstractContextManager[None]:
    """Keep the object store of the demo running where it is in use; elsewhere do nothing."""
    systems = _current.get()
    return nullcontext() if systems is None else systems.running_objects()
