"""The run as its steps see it, and where its objects lie below its entity's prefix."""

from pydantic import BaseModel, ConfigDict

from optimizer.control_plane import runs
from optimizer.control_plane.records import EndedRunRow, Run
from optimizer.core.config.settings import RunSettings
from optimizer.core.records.config_snapshot import ConfigSnapshot, FrozenConfig
from optimizer.runs.staging import Staging
from optimizer.runs.systems import Systems

STAGING, RUNS, DRY_RUNS = "staging", "runs", "dry_runs"
"""Folders below s3_base_path: what steps leave for each other, and what runs and dry runs publish."""


class RunHandle(BaseModel):
    """What one task passes to the next: names and addresses, no data."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    run_code: str
    entity_code: str
    staging_uri: str
    output_uri: str

    def staging(self, systems: Systems) -> Staging:
        return Staging(systems.store, self.staging_uri, still_wanted=systems.still_wanted)


def folder_uri(s3_base_path: str, folder: str) -> str:
    """Return the address of one of the folders below an entity's prefix."""
    return f"{s3_base_path.rstrip('/')}/{folder}/"


def read_snapshot(run: RunHandle, systems: Systems) -> ConfigSnapshot:
    """Return the run's frozen configuration; the steps read nothing else of the control plane."""
    return ConfigSnapshot.model_validate(runs.read_run(systems.engine, run.run_id).config_snapshot)


def settings_of(row: Run | EndedRunRow) -> RunSettings:
    """Return the typed settings of a run that was started."""
    return FrozenConfig.model_validate(row.config_snapshot).settings
