"""The entities that DAGs are built of, with a last-good snapshot: DAGs stay while the database does not answer."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import ValidationError

from optimizer.control_plane.records import BrokenEntity, Entity, EntityDefinition, FeatureMacro, Record
from optimizer.core.config.merge import ConfigKey

log = logging.getLogger(__name__)

SNAPSHOT_NAME = "entities.json"

FEWEST_GONE = 3
"""That many entities may never vanish at once unconfirmed where they are half of all, and fewer only if some stay."""

ReadEntities = Callable[[], tuple[list[EntityDefinition], list[BrokenEntity]]]


@dataclass(frozen=True, slots=True)
class LoadedEntities:
    """The definitions of all entities, sorted by code, and a sentence for each thing that is wrong with them."""

    definitions: list[EntityDefinition]
    problems: tuple[str, ...] = ()


def snapshot_path() -> Path:
    """Return the path of the snapshot: below OPTIMIZER_STATE_DIR, else below AIRFLOW_HOME."""
    home = os.environ.get("AIRFLOW_HOME", str(Path.home() / "airflow"))
    return Path(os.environ.get("OPTIMIZER_STATE_DIR") or Path(home) / "optimizer") / SNAPSHOT_NAME


def load_definitions(
    read: ReadEntities, *, path: Path, confirmed_count: Callable[[], int | None] = lambda: None
) -> LoadedEntities:
    """Return the definition of every entity of any status.

    A broken row keeps its last good definition, if there is one. All rows do if `read` fails for any reason, and if
    all or half of them are gone at once: an emptied table is more likely than as many clients that left in a minute.

    Args:
        confirmed_count: returns how many entities a person confirmed there to be; asked only where many are gone.

    Raises:
        Exception: what `read` raised, if there is no snapshot yet.
    """
    last_good = read_last_good(path)
    try:
        good, broken = read()
        if last_good is not None and (gone := _suspicious(last_good, good, broken)):
            present = len(good) + len(broken)
            if confirmed_count() != present:
                return _kept(last_good, path, _refusal(gone, present=present, before=len(last_good)))
    except Exception as error:  # also Airflow's: no such connection, or the secrets backend is away
        if last_good is None:
            raise
        return _kept(last_good, path, f"the control plane cannot be read ({type(error).__name__}: {error})")
    known = {definition.entity.entity_code: definition for definition in last_good or ()}
    problems = []
    for row in broken:
        kept = "its last good definition stays" if row.entity_code in known else "it has no DAG"
        problems.append(f"entity {row.entity_code} is invalid, {kept}: {row.reason}")
        log.error(problems[-1])
    kept_ones = [known[row.entity_code] for row in broken if row.entity_code in known]
    definitions = sorted([*good, *kept_ones], key=lambda definition: definition.entity.entity_code)
    if definitions != last_good:
        try:
            write_snapshot(path, definitions)
        except OSError as error:
            problems.append(f"the snapshot of the entities {path} cannot be written: {error}; set OPTIMIZER_STATE_DIR")
            log.error(problems[-1])
    return LoadedEntities(definitions, tuple(problems))


def read_last_good(path: Path, *, only: str | None = None) -> list[EntityDefinition] | None:
    """Return the snapshot, or of it the entity `only`; None if there is none or it cannot be read."""
    try:
        return _Snapshot.model_validate_json(path.read_bytes()).definitions(only)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, IndexError) as error:
        log.warning("the snapshot of the entities %s cannot be read and is written again: %s", path, error)
        return None


def write_snapshot(path: Path, definitions: Iterable[EntityDefinition]) -> None:
    """Write a temporary file, then rename it: a reader sees the old snapshot or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(_Snapshot.of(definitions).model_dump_json(indent=1))
    Path(file.name).replace(path)


class _Shared(Record):
    """What the entities of one version have in common: most of a definition."""

    version_code: str
    config_keys: tuple[ConfigKey, ...]
    supported_keys: tuple[str, ...] | None
    feature_macros: tuple[FeatureMacro, ...]


class _Listed(Record):
    """What an entity has of its own; `shared` is a position in the snapshot's list."""

    entity: Entity
    entity_values: dict[str, str]
    shared: int


class _Snapshot(Record):
    """The file: what entities share is in it once, so that a task among thousands of entities reads it in no time."""

    shared: tuple[_Shared, ...]
    entities: tuple[_Listed, ...]

    @classmethod
    def of(cls, definitions: Iterable[EntityDefinition]) -> "_Snapshot":
        shared: list[_Shared] = []
        listed = []
        for definition in definitions:
            part = _Shared(**{name: getattr(definition, name) for name in _Shared.model_fields})
            if part not in shared:
                shared.append(part)
            place = shared.index(part)
            listed.append(_Listed(entity=definition.entity, entity_values=definition.entity_values, shared=place))
        return cls(shared=tuple(shared), entities=tuple(listed))

    def definitions(self, only: str | None) -> list[EntityDefinition]:
        """Return the definitions that the snapshot was made of, or that of one entity."""
        return [
            EntityDefinition(entity=one.entity, entity_values=one.entity_values, **dict(self.shared[one.shared]))
            for one in self.entities
            if only is None or one.entity.entity_code == only
        ]


def _suspicious(
    last_good: list[EntityDefinition], good: list[EntityDefinition], broken: list[BrokenEntity]
) -> list[str]:
    """Return the codes of the entities that are gone, if too many are to believe it."""
    present = {definition.entity.entity_code for definition in good} | {row.entity_code for row in broken}
    gone = [one.entity.entity_code for one in last_good if one.entity.entity_code not in present]
    is_half = len(gone) >= FEWEST_GONE and 2 * len(gone) >= len(last_good)
    return gone if gone and (not present or is_half) else []


def _refusal(gone: list[str], *, present: int, before: int) -> str:
    names = ", ".join(gone[:3]) + (", …" if len(gone) > 3 else "")
    return (
        f"opt_entities has {present:,} rows, {len(gone):,} of {before:,} entities are gone at once ({names}); restore "
        f"them, or confirm with `optimizer confirm-entities {present}`"
    )


def _kept(last_good: list[EntityDefinition], path: Path, why: str) -> LoadedEntities:
    problem = f"entities are those of the last good snapshot {path}: {why}"
    log.warning(problem)
    return LoadedEntities(last_good, (problem,))
