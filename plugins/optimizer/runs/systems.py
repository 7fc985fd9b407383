"""What a step works with: the control plane, the object store, the warehouse, and tracking where there is any."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Systems:
    """Connections of one step. `connect_warehouse` opens a connection of the Snowflake connector.

    track_run: opens a run of the tracking service, as `optimization_tracking.client.track_run` does; None without one.
    still_wanted: asked before a step writes an object; raises where the run is not the step's to write anymore.
    """

    engine: Engine
    store: ObjectStore
    connect_warehouse: Callable[[], Any]
    track_run: Callable[..., Any] | None = None
    still_wanted: Callable[[], object] = lambda: None
