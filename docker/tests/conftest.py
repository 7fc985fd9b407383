"""What every test of the containers needs: an engine, and one deployment that is removed in every case."""

import logging
import signal
from collections.abc import Iterator

import pytest
from servers.containers import Containers, describe_missing_engine

log = logging.getLogger("containers")


def pytest_sessionstart(session: pytest.Session) -> None:
    if missing := describe_missing_engine():
        raise pytest.UsageError(f"the tests of docker-compose.yaml need a Docker engine: {missing}")


@pytest.fixture(scope="session")
def containers(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """One deployment for all tests, in their order; it is removed in the end, also after Ctrl-C or SIGTERM."""
    found = Containers()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield found
        if request.session.testsfailed:
            log.error("what the containers say:\n%s", found.report())
    finally:
        # A second one would leave half of it behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        log.info("removing the deployment %s", found.project)
        found.remove()
