"""The systems of the story: each part sees the control plane with its own account's rights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.memcached import Memcached
from optimizer.runs.systems import Systems

UI, APP, BIDDER, _ = ACCOUNTS = ("optimizer_ui", "optimizer_app", "optimizer_bidder", "optimizer_console")


@dataclass(frozen=True)
class StorySystems:
    """The running servers; `engines` by account."""

    engines: dict[str, Engine]
    store: ObjectStore
    memcached: Memcached
    connect_warehouse: Callable[[], Any]

    @property
    def pipeline(self) -> Systems:
        """The systems as a task in Airflow is connected to them."""
        return Systems(self.engines[APP], self.store, self.connect_warehouse)
