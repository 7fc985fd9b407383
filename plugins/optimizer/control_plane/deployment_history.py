"""What an entity's bidder serves and served: the active deployments, all deployments, and the splits they make."""

from datetime import datetime

from sqlalchemy import Connection, Engine, or_, select

from optimizer.control_plane.engine import reading
from optimizer.control_plane.records import Deployment, read_rows
from optimizer.control_plane.splits import Split, group_splits
from optimizer.control_plane.tables import deployments, entities


def read_active(engine: Engine, entity_code: str) -> list[Deployment]:
    """Return the entity's active deployments, the largest share first; none where nothing is deployed."""
    with reading(engine) as connection:
        entity_id = connection.scalar(select(entities.c.entity_id).where(entities.c.entity_code == entity_code))
        return select_active(connection, entity_id)


def select_active(connection: Connection, entity_id: int | None) -> list[Deployment]:
    """Return the entity's active deployments in a transaction, the largest share first."""
    is_active = (deployments.c.entity_id == entity_id, deployments.c.is_active.is_(True))
    by_share = (deployments.c.traffic_pct.desc(), deployments.c.run_id)
    rows = connection.execute(select(deployments).where(*is_active).order_by(*by_share)).mappings()
    return read_rows(Deployment, rows)


def list_active(engine: Engine) -> dict[str, list[Deployment]]:
    """Return {entity_code: its active deployments, the largest share first}, in one statement."""
    by_share = (deployments.c.entity_id, deployments.c.traffic_pct.desc(), deployments.c.run_id)
    statement = select(deployments, entities.c.entity_code).join(
        entities, entities.c.entity_id == deployments.c.entity_id
    )
    found: dict[str, list[Deployment]] = {}
    with reading(engine) as connection:
        rows = connection.execute(statement.where(deployments.c.is_active.is_(True)).order_by(*by_share)).mappings()
        for row in rows:
            found.setdefault(row["entity_code"], []).append(Deployment.model_validate(dict(row)))
    return found


def list_live(engine: Engine) -> frozenset[str]:
    """Return the codes of the entities with an active deployment."""
    statement = select(entities.c.entity_code).join(deployments, deployments.c.entity_id == entities.c.entity_id)
    with reading(engine) as connection:
        return frozenset(connection.scalars(statement.where(deployments.c.is_active.is_(True))))


def was_live(engine: Engine, entity_id: int) -> bool:
    """Return whether a run of the entity had traffic, now or ever."""
    with reading(engine) as connection:
        found = select(deployments.c.deployment_id).where(deployments.c.entity_id == entity_id).limit(1)
        return connection.scalar(found) is not None


def read_history(engine: Engine, entity_code: str, *, limit: int = 100) -> list[Deployment]:
    """Return the entity's deployments of all times, the newest first."""
    of_entity = select(deployments).join(entities, entities.c.entity_id == deployments.c.entity_id)
    newest_first = of_entity.where(entities.c.entity_code == entity_code).order_by(deployments.c.deployment_id.desc())
    with reading(engine) as connection:
        return read_rows(Deployment, connection.execute(newest_first.limit(limit)).mappings())


def read_splits(engine: Engine, entity_code: str, *, limit: int = 1000) -> list[Split]:
    """Return the splits that the entity's newest deployments make, the newest split first."""
    return group_splits(read_history(engine, entity_code, limit=limit))[::-1]


def read_split_at(engine: Engine, entity_code: str, at: datetime) -> Split | None:
    """Return the split that was live at a moment, or None where none was.

    A row that other SQL took off without saying when belongs to no moment.
    """
    of_entity = select(deployments).join(entities, entities.c.entity_id == deployments.c.entity_id)
    is_live = or_(deployments.c.is_active.is_(True), deployments.c.deactivated_at > at)
    statement = of_entity.where(entities.c.entity_code == entity_code, deployments.c.deployed_at <= at, is_live)
    with reading(engine) as connection:
        rows = read_rows(Deployment, connection.execute(statement.order_by(deployments.c.deployment_id)).mappings())
    splits = group_splits(rows)
    return splits[-1] if splits else None


def read_first_at(engine: Engine, entity_code: str) -> datetime | None:
    """Return when the entity's first split was deployed, or None where nothing ever was."""
    of_entity = select(deployments.c.deployed_at).join(entities, entities.c.entity_id == deployments.c.entity_id)
    first = of_entity.where(entities.c.entity_code == entity_code).order_by(deployments.c.deployment_id).limit(1)
    with reading(engine) as connection:
        return connection.scalar(first)
