"""A client of the session's service, and a service that can be away."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from servers.tracking import Tracking, client, serving, settings

from lab.stack.ports import PortClaims
from optimization_tracking.app import create_app
from optimization_tracking.client import ClientSettings
from optimizer.names import TRACKING_PREFIX

__all__ = ["client", "settings"]


@pytest.fixture
def away(tracking: Tracking, tmp_path: Path) -> Iterator[tuple[ClientSettings, Callable[[], AbstractContextManager]]]:
    """Settings of an address where nothing listens, and what serves the API there for the time of a block."""
    with PortClaims() as claims:
        port = claims.claim()

        def back() -> AbstractContextManager:
            app = create_app(database_url=tracking.database_url, prefix=TRACKING_PREFIX, refresh_s=None)
            return serving(app, port=port)

        address = f"http://127.0.0.1:{port}"
        yield ClientSettings(address, tracking.keys["shop"], queue_folder=tmp_path / "queue", timeout_s=2), back
