"""The transaction that replaces an entity's split: entity locked, split checked, rows, audit and canary written."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from optimizer.control_plane import canaries
from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.deployment_history import select_active
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.entities import list_codes, unknown_entity
from optimizer.control_plane.promotions import Promotion, check_promotion
from optimizer.control_plane.records import Deployment, Source
from optimizer.control_plane.split_rules import check_split
from optimizer.control_plane.splits import percents_of, with_share
from optimizer.control_plane.tables import deployments, entities
from optimizer.errors import DeploymentError, SplitChanged, UnavailableError

ChooseSplit = Callable[[Connection, RowMapping, list[Deployment]], Mapping[str, int]]
"""Makes the new split from the entity's row and its active deployments, in the transaction that deploys it."""


@dataclass(frozen=True, slots=True)
class SplitChange:
    """How a split is replaced, and what its rows and the audit say about it.

    Attributes:
        choose: makes the new split.
        author: recorded in the rows and in the audit.
        source: recorded in the rows, except in the control's.
        action: recorded in the audit.
        is_pinned: scheduled runs do not replace the split.
        canary_run_id: the run that the split tries, or None.
        promotion: the run that goes live automatically and must pass `check_promotion`, or None.
        seen: ids of the active deployments on which the split was decided; None: any.
        then: writes what else belongs to the transaction, after the new split.
    """

    choose: ChooseSplit
    author: Author
    source: Source
    action: str
    is_pinned: bool = False
    canary_run_id: str | None = None
    promotion: Promotion | None = None
    seen: Collection[int] | None = None
    then: Callable[[Connection, RowMapping], None] | None = None


def change_split(engine: Engine, change: SplitChange, *, entity_code: str, now: datetime) -> list[Deployment]:
    """Replace the entity's active split in one transaction with the entity's row locked; return the active deployments.

    Raises:
        DeploymentError: the entity is unknown, or may not serve the split.
        PromotionRefused: the change's promotion is not allowed.
        SplitChanged: other deployments are active than those that were seen, even where they are the wanted split.
        UnavailableError: the database does not answer, or another user changed the split at the same time.
    """
    try:
        with transaction(engine) as connection:
            entity = find_entity(connection, entity_code, lock=True)
            active = select_active(connection, entity["entity_id"])
            split = change.choose(connection, entity, active)
            check_split(connection, entity, split=split)
            check_seen(entity_code, active, seen=change.seen)
            if percents_of(active) != dict(split):
                if change.promotion is not None:
                    check_promotion(connection, change.promotion, entity_code=entity_code, active=active, now=now)
                _replace(connection, entity, active, split=split, change=change, now=now)
            elif change.is_pinned:
                pin_active(connection, entity["entity_id"], active, is_pinned=True, author=change.author, now=now)
            _set_active_run(connection, entity["entity_id"], split=split)
            return select_active(connection, entity["entity_id"])
    except IntegrityError as error:
        raise UnavailableError(
            f"entity {entity_code}: another user changed its split at the same time; try again"
        ) from error


def find_entity(connection: Connection, entity_code: str, *, lock: bool = False) -> RowMapping:
    """Return the entity's row; `lock` keeps it from every other deploy until the end of the transaction."""
    columns = (entities.c.entity_id, entities.c.entity_code, entities.c.control_run_id)
    statement = select(*columns).where(entities.c.entity_code == entity_code)
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    if row is None:
        raise DeploymentError(unknown_entity(entity_code, known=list_codes(connection)))
    return row


def check_seen(entity_code: str, active: Iterable[Deployment], *, seen: Collection[int] | None) -> None:
    """Pass where these deployments are active that were seen, or where none were asked for.

    Raises:
        SplitChanged: says what is active, and who deployed it.
    """
    rows = list(active)
    if seen is not None and {deployment.deployment_id for deployment in rows} != set(seen):
        present = ", ".join(
            f"run {row.run_id} {row.traffic_pct} % by {row.deployed_by or 'an unknown user'}" for row in rows
        )
        raise SplitChanged(
            f"entity {entity_code}: its split was changed meanwhile to {present or 'nothing'}; "
            "look at it and decide again"
        )


def pin_active(
    connection: Connection,
    entity_id: int,
    active: Iterable[Deployment],
    *,
    is_pinned: bool,
    author: Author,
    now: datetime,
) -> None:
    """Pin or unpin the active deployments except the control's, and write the audit if that changes any."""
    others = [row for row in active if row.source != "control" and row.is_pinned != is_pinned]
    if not others:
        return
    ids = [row.deployment_id for row in others]
    connection.execute(update(deployments).where(deployments.c.deployment_id.in_(ids)).values(is_pinned=is_pinned))
    write_audit(
        connection,
        author,
        AuditedChange(
            "pin" if is_pinned else "unpin",
            entity_id=entity_id,
            before={"is_pinned": not is_pinned},
            after={"is_pinned": is_pinned, "split": percents_of(others)},
        ),
        now=now,
    )


def with_control(split: Mapping[str, int], control_run_id: str | None, control_pct: int) -> Mapping[str, int]:
    """Return the split with the control's share in it, where there is a control that it does not name."""
    if control_run_id is None or control_pct <= 0 or control_run_id in split or sum(split.values()) != 100:
        return split
    return with_share(split, run_id=control_run_id, pct=control_pct)


def _replace(
    connection: Connection,
    entity: RowMapping,
    active: list[Deployment],
    *,
    split: Mapping[str, int],
    change: SplitChange,
    now: datetime,
) -> None:
    entity_id, control = entity["entity_id"], entity["control_run_id"]
    is_old = (deployments.c.entity_id == entity_id, deployments.c.is_active.is_(True))
    connection.execute(update(deployments).where(*is_old).values(is_active=False, deactivated_at=now))
    shared = {
        "entity_id": entity_id,
        "is_active": True,
        "deployed_by": change.author.name,
        "deployed_at": now,
        "canary_run_id": change.canary_run_id,
        "comment": change.author.comment,
    }
    own = {"source": change.source, "is_pinned": change.is_pinned}
    pinned_control = {"source": "control", "is_pinned": True}
    rows = [
        {"run_id": run_id, "traffic_pct": percent, **shared, **(pinned_control if run_id == control else own)}
        for run_id, percent in split.items()
    ]
    connection.execute(insert(deployments), rows)
    if change.canary_run_id is None:
        canaries.end_open(connection, entity_id, split=split, author=change.author, now=now)
    write_audit(
        connection,
        change.author,
        AuditedChange(
            change.action,
            entity_id=entity_id,
            before={"split": percents_of(active)},
            after={"split": dict(split), "source": change.source, "is_pinned": change.is_pinned},
        ),
        now=now,
    )
    if change.then is not None:
        change.then(connection, entity)


def _set_active_run(connection: Connection, entity_id: int, *, split: Mapping[str, int]) -> None:
    """Point the entity at the run with the largest share; of equal shares at the greatest run_id."""
    run_id = max(split, key=lambda run_id: (split[run_id], run_id))
    connection.execute(update(entities).where(entities.c.entity_id == entity_id).values(active_run_id=run_id))
