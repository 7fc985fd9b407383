"""The entities that DAGs are built of, with a last-good snapshot: DAGs stay while the database does not answer."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import TypeAdapter, ValidationError

from optimizer.control_plane.records import BrokenEntity, EntityDefinition

log = logging.getLogger(__name__)

SNAPSHOT_NAME = "entities.json"
_adapter = TypeAdapter(list[EntityDefinition])


def snapshot_path() -> Path:
    """Return the path of the snapshot: below OPTIMIZER_STATE_DIR, else below AIRFLOW_HOME."""
    home = os.environ.get("AIRFLOW_HOME", str(Path.home() / "airflow"))
    return Path(os.environ.get("OPTIMIZER_STATE_DIR") or Path(home) / "optimizer") / SNAPSHOT_NAME


def load_definitions(
    read: Callable[[], tuple[list[EntityDefinition], list[BrokenEntity]]], *, path: Path
) -> list[EntityDefinition]:
    """Return the definition of every entity of any status, sorted by entity_code.

    A broken row keeps its last good definition, if there is one; if `read` fails for any reason, all rows do.

    Raises:
        Exception: what `read` raised, if there is no snapshot yet.
    """
    last_good = read_last_good(path)
    try:
        good, broken = read()
    except Exception as error:  # also Airflow's: no such connection, or the secrets backend is away
        if last_good is None:
            raise
        log.warning("entities are those of the last good snapshot %s: %s: %s", path, type(error).__name__, error)
        return last_good
    known = {definition.entity.entity_code: definition for definition in last_good or ()}
    for row in broken:
        kept = "its last good definition stays" if row.entity_code in known else "it has no DAG"
        log.error("entity %s is invalid, %s: %s", row.entity_code, kept, row.reason)
    kept_ones = [known[row.entity_code] for row in broken if row.entity_code in known]
    definitions = sorted([*good, *kept_ones], key=lambda definition: definition.entity.entity_code)
    if definitions != last_good:
        try:
            _write(path, definitions)
        except OSError as error:
            log.error("the snapshot of the entities %s cannot be written: %s; set OPTIMIZER_STATE_DIR", path, error)
    return definitions


def read_last_good(path: Path) -> list[EntityDefinition] | None:
    """Return the snapshot, or None if there is none or it cannot be read."""
    try:
        return _adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("the snapshot of the entities %s cannot be read and is written again: %s", path, error)
        return None


def _write(path: Path, definitions: list[EntityDefinition]) -> None:
    """Write a temporary file, then rename it: a reader sees the old snapshot or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(_adapter.dump_json(definitions, indent=1))
    Path(file.name).replace(path)
