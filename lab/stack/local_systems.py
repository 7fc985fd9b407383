"""The demo's systems for `optimizer … --local`."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from lab.stack.demo import running
from lab.stack.home import StackHome, default_home
from lab.stack.stack import LocalStack
from optimizer.errors import ConfigError


class DemoSystems:
    """The systems of the stack in OPTIMIZER_HOME, else in .local of the checkout."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables that name the systems, secrets included.

        Raises:
            ConfigError: the control plane does not exist yet.
        """
        path = StackHome(default_home()).control_plane
        if not path.exists():
            raise ConfigError(f"no control plane at {path}; run `make demo` first")
        return LocalStack.open().environment()

    def running_objects(self) -> AbstractContextManager[None]:
        """Keep the object store running; one that was down stops at the end."""
        return running(LocalStack.open(), "objects")
