"""The run as its steps see it."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from optimizer.control_plane import runs
from optimizer.core.config.merge import snapshot_values
from optimizer.core.config.settings import RunSettings
from optimizer.runs.staging import Staging
from optimizer.runs.systems import Systems


class RunHandle(BaseModel):
    """What one task passes to the next: names and addresses, no data."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    run_code: str
    entity_code: str
    staging_uri: str
    output_uri: str

    def staging(self, systems: Systems) -> Staging:
        return Staging(systems.store, self.staging_uri)


def read_snapshot(run: RunHandle, systems: Systems) -> dict[str, Any]:
    """Return the run's frozen configuration; the steps read nothing else of the control plane."""
    return dict(runs.read_run(systems.engine, run.run_id).config_snapshot or {})


def read_settings(snapshot: dict[str, Any]) -> RunSettings:
    """Return the typed settings of a snapshot."""
    return RunSettings.model_validate(snapshot_values(snapshot))
