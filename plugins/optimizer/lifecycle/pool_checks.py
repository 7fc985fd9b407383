"""The slots that the entities' training takes next to those that Airflow's pool has."""

from collections.abc import Callable, Iterable, Iterator

from optimizer.control_plane.records import EntityDefinition
from optimizer.core.config.merge import parse_value
from optimizer.errors import ConfigError
from optimizer.lifecycle.findings import DoctorFinding
from optimizer.names import TRAINING_POOL

PoolSlots = Callable[[str], int | None]
"""A pool's name to its slots, None if Airflow has no such pool; raises where Airflow is silent."""

_KEY = "training_slots"
_UNLIMITED = -1


def compare_slots(good: Iterable[EntityDefinition], slots: int | None) -> Iterator[DoctorFinding]:
    """Yield the entities whose training never starts, each with what to do.

    Args:
        slots: of the pool `optimizer_training`; -1: without a limit; None: there is no such pool.
    """
    if slots is None:
        todo = f"`airflow pools set {TRAINING_POOL} 1 Training`, with as many slots as the workers' cores"
        yield DoctorFinding("Airflow", f"it has no pool {TRAINING_POOL}: no training starts", todo)
        return
    for definition in good:
        wanted, code = _training_slots(definition), definition.entity.entity_code
        if definition.entity.status == "A" and slots != _UNLIMITED and wanted > slots:
            found = "1 slot" if slots == 1 else f"{slots} slots"
            yield DoctorFinding(
                f"entity {code}",
                f"its training never starts: {_KEY}={wanted}, and Airflow's pool {TRAINING_POOL} has {found}",
                f"`optimizer configure {code} {_KEY}={max(slots, 1)}`, or `airflow pools set {TRAINING_POOL} {wanted} "
                "Training` if the workers have as many cores",
            )


def _training_slots(definition: EntityDefinition) -> int:
    """The entity's value, 0 where it has none or none that can be used: that is a finding of its own."""
    key = next((key for key in definition.config_keys if key.config_key == _KEY), None)
    raw = None if key is None else definition.entity_values.get(_KEY, key.default_value)
    if key is None or raw is None:
        return 0
    try:
        return int(parse_value(key, raw) or 0)
    except ConfigError:
        return 0
