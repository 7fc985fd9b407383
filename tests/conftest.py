"""Which tests one of several processes runs together, which come first, and which are slow."""

import pytest
from xdist.scheduler import LoadScopeScheduling

STACK_FILES = ("dashboard", "requests", "tracking_plugin", "whole_runs", "whole_splits")
"""The files of tests/orchestration whose tests need Airflow itself."""

SLOW_FOLDERS = (
    *("bidder", "cli", "control_plane", "market", "orchestration", "pipeline", "stack", "story", "tracking"),
    *("benchmarks", "evaluation", "second_market", "training", "warehouse"),
)
"""The folders whose tests need servers, or a model that is trained; all of them are marked slow."""

SLOW_FILES = ("test_keys_on_memcached", "test_page")
"""The files of the other folders that are slow as a whole: one needs memcached, the other draws every page anew."""


def pytest_collection_modifyitems(config, items):
    tests = config.rootpath / "tests"
    for item in items:
        place = item.path.relative_to(tests)
        if place.parts[0] in SLOW_FOLDERS or place.stem in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
    # Begun last, they would run alone at the end, and they wait more than they compute.
    items.sort(key=lambda item: not needs_stack(item.nodeid))


def needs_stack(nodeid: str) -> bool:
    """Return whether the test, or the file of a scope, needs Airflow itself."""
    return nodeid.partition("::")[0].endswith(tuple(f"orchestration/test_{name}.py" for name in STACK_FILES))


class ByServers(LoadScopeScheduling):
    """A file's tests stay in one process, and so do all that share Airflow's stack: it is started once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "stack" if needs_stack(file) else file


def pytest_xdist_make_scheduler(config, log):
    return ByServers(config, log)
