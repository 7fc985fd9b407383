"""The runs that an entity may serve, for a user to choose from."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import Run, read_rows, status_words
from optimizer.control_plane.tables import entities, runs


@dataclass(frozen=True, slots=True)
class DeployableRuns:
    """Runs, the newest first. total: how many match the search, whether they are listed or not."""

    runs: tuple[Run, ...]
    total: int


def list_deployable(
    engine: Engine, entity_code: str, *, search: str = "", limit: int = 10, always: Collection[str] = ()
) -> DeployableRuns:
    """Return the entity's newest runs that may be deployed: completed, validation passed, files kept.

    Args:
        search: only runs whose run_id contains this text.
        always: runs of the entity that are listed too, whether they match or not.
    """
    is_good = runs.c.status.in_(status_words("completed")) & (runs.c.validation_status == "passed")
    of_entity = (
        runs.c.entity_id == select(entities.c.entity_id).where(entities.c.entity_code == entity_code).scalar_subquery()
    )
    matches = (of_entity, is_good, runs.c.outputs_removed_at.is_(None), runs.c.run_id.contains(search, autoescape=True))
    newest_first = (runs.c.created_at.desc(), runs.c.run_id.desc())
    newest = select(runs.c.run_id).where(*matches).order_by(*newest_first).limit(limit)
    with reading(engine) as connection:
        total = connection.scalar(select(func.count()).select_from(runs).where(*matches)) or 0
        shown = {*connection.scalars(newest), *always}
        listed = select(runs).where(of_entity, runs.c.run_id.in_(sorted(shown))).order_by(*newest_first)
        return DeployableRuns(tuple(read_rows(Run, connection.execute(listed).mappings())), total)
