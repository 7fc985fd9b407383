"""Clients of the session's service, one for each of its two projects."""

import pytest
from servers.postgres import each_postgres_server, postgres_server
from servers.tracking import ProjectClient, Tracking, each_tracking, tracking

__all__ = ["each_postgres_server", "each_tracking", "postgres_server", "tracking"]


@pytest.fixture
def shop(tracking: Tracking) -> ProjectClient:
    return tracking.client("shop")


@pytest.fixture
def search(tracking: Tracking) -> ProjectClient:
    return tracking.client("search")
