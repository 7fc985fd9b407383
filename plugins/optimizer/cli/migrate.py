"""The command that makes the control plane's tables."""

from optimizer.cli.control_plane import connect
from optimizer.control_plane.schema import migrate as migrate_schema
from optimizer.control_plane.version_rows import load_version
from optimizer.presentation.terminal import console


def migrate() -> None:
    """Bring the control plane's tables to this code's revision, and load its version with every config key."""
    engine = connect()
    revision = migrate_schema(engine)
    console.print(f"the control plane is at revision {revision}, with version {load_version(engine)}")
