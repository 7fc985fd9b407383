"""Which tests one of several processes runs together."""

from xdist.scheduler import LoadScopeScheduling

STACK_FILES = ("dashboard", "requests", "tracking_plugin", "whole_runs", "whole_splits")
"""The files of tests/orchestration whose tests need Airflow itself."""


class ByServers(LoadScopeScheduling):
    """A file's tests stay in one process, and so do all that share Airflow's stack: it is started once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "stack" if file.endswith(tuple(f"orchestration/test_{name}.py" for name in STACK_FILES)) else file


def pytest_xdist_make_scheduler(config, log):
    return ByServers(config, log)
