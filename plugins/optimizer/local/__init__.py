"""The embedded stack: every system the optimizer needs, run from Python packages in one folder of this machine."""

from optimizer.local.programs import AIRFLOW, SYSTEMS
from optimizer.local.stack import LocalStack

__all__ = ["AIRFLOW", "SYSTEMS", "LocalStack"]
