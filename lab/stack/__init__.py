"""The embedded stack: every system the optimizer needs, run from Python packages in one folder of this machine."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.stack.programs import AIRFLOW, SYSTEMS
    from lab.stack.stack import LocalStack

__all__ = ["AIRFLOW", "SYSTEMS", "LocalStack"]

_MODULES = {"AIRFLOW": "lab.stack.programs", "SYSTEMS": "lab.stack.programs", "LocalStack": "lab.stack.stack"}


def __getattr__(name: str) -> Any:
    # `optimizer --help` imports this package for the summaries of the demo's commands, and needs none of the systems.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
