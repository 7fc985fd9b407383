"""Which tests one of several processes runs together, which come first, and which are slow."""

import gc
import os

import pytest
from xdist.scheduler import LoadScopeScheduling

# Before numpy is loaded, and for the programs that tests start: the test processes are the parallel part, and libraries
# that start a thread per core in each of them only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# All that is imported and collected stays to the end: looking through it for garbage takes a quarter of that time.
gc.disable()

pytest_plugins = ["servers.browser"]

STACK_FILES = (
    *("console", "dashboard", "requests", "tracking_plugin", "whole_runs", "whole_splits"),
    *("demo_run", "airflow"),
)
"""The files of tests/orchestration whose tests need Airflow itself, in their order.

The last two replace the event log and end the stack.
"""

SHARED_FOLDERS = ("pipeline", "control_plane", "console", "tracking")
"""The folders whose files share servers, or runs, that take long to make: a second process would make them again."""

LONG_FILES = (
    *("pipeline", "control_plane", "console", "evaluation/test_reached", "project/test_wheel", "tracking"),
    *("history/test_replayed_days", "training/test_job", "core/test_live_clicks", "benchmarks/test_parts"),
    *("training/test_cluster", "evaluation/test_what_if", "evaluation/test_baselines", "benchmarks/test_logs"),
    *("bidder/test_stopping", "bidder/test_silence", "bidder/test_memcached"),
    *("evaluation/test_auction_log", "stack/test_systems", "core/test_features", "project/test_preparation"),
    *("story/test_from_the_ui_to_the_bidder", "story/test_going_live_safely", "reporting/test_page"),
)
"""The other files and folders that take longest, the longest first: begun last, one would run alone at the end."""

FILES_BY_TURN = (*(f"orchestration/test_{name}" for name in STACK_FILES), *LONG_FILES)

SLOW_FOLDERS = (
    *("bidder", "cli", "console", "control_plane", "market", "orchestration", "pipeline", "stack", "story", "tracking"),
    *("benchmarks", "evaluation", "second_market", "training", "warehouse"),
)
"""The folders whose tests need servers, or a model that is trained; all of them are marked slow."""

SLOW_FILES = ("test_keys_on_memcached", "test_page")
"""The files of the other folders that are slow as a whole: one needs memcached, the other draws every page again."""


def pytest_collection_modifyitems(config, items):
    tests = config.rootpath / "tests"
    for item in items:
        place = item.path.relative_to(tests)
        if place.parts[0] in SLOW_FOLDERS or place.stem in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
    with_browser = {item.path for item in items if "chromium" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (turn_of(item.nodeid), item.path in with_browser))


def pytest_collection_finish():
    """Keep modules and tests, which stay to the end, out of every later garbage collection."""
    gc.freeze()
    gc.enable()


def turn_of(nodeid: str) -> int:
    """Return when the test's file is begun: what shares Airflow first, then the long files, then the others."""
    name = place_of(nodeid)
    return FILES_BY_TURN.index(name) if name in FILES_BY_TURN else len(FILES_BY_TURN)


def place_of(nodeid: str) -> str:
    """Return the test's shared folder, or its file without suffix."""
    file = nodeid.partition("::")[0].removeprefix("tests/").removesuffix(".py")
    folder = file.partition("/")[0]
    return folder if folder in SHARED_FOLDERS else file


def needs_stack(nodeid: str) -> bool:
    """Return whether the test, or the file of a scope, needs Airflow itself."""
    return turn_of(nodeid) < len(STACK_FILES)


class ByServers(LoadScopeScheduling):
    """A file's tests stay in one process, and so do all that share Airflow's stack, or what a folder shares."""

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if needs_stack(nodeid) else place_of(nodeid)

    def remove_node(self, node):
        """Give another process what a crashed one left, but neither the test that crashed it nor what it had finished.

        The base class gives both out again: the test crashes the next process, and one that is sent no test never ends.
        """
        groups = self.assigned_work[node]
        left = {group: [test for test, is_done in tests.items() if not is_done] for group, tests in groups.items()}
        crashed = next((test for tests in left.values() for test in tests), None)
        if crashed is not None:
            left = {group: [test for test in tests if test != crashed] for group, tests in left.items()}
        self.assigned_work[node] = {group: dict.fromkeys(tests, False) for group, tests in left.items() if tests}
        super().remove_node(node)
        return crashed


def pytest_xdist_make_scheduler(config, log):
    return ByServers(config, log)
