"""What a step works with: the control plane, the object store and the warehouse."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Systems:
    """Connections of one step. `connect_warehouse` opens a connection of the Snowflake connector."""

    engine: Engine
    store: ObjectStore
    connect_warehouse: Callable[[], Any]
