"""Clients of the session's service, one for each of its two projects."""

import pytest
from servers.postgres import postgres_server
from servers.tracking import ProjectClient, Tracking, tracking

__all__ = ["postgres_server", "tracking"]


@pytest.fixture
def shop(tracking: Tracking) -> ProjectClient:
    return tracking.client("shop")


@pytest.fixture
def search(tracking: Tracking) -> ProjectClient:
    return tracking.client("search")
