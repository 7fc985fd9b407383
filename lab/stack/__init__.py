"""The embedded stack: every system the optimizer needs, run from Python packages in one folder of this machine."""

from lab.stack.programs import AIRFLOW, SYSTEMS
from lab.stack.stack import LocalStack

__all__ = ["AIRFLOW", "SYSTEMS", "LocalStack"]
