"""Set which runs the bidder serves: an entity's traffic, split over its completed runs and replaced as a whole."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, update

from optimizer.control_plane.audit import AuditedChange, Author, write_audit
from optimizer.control_plane.control_choices import SET_CONTROL, select_declined
from optimizer.control_plane.deployment_history import select_active
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.records import Deployment
from optimizer.control_plane.split_changes import (
    SplitChange,
    change_split,
    check_seen,
    find_entity,
    pin_active,
    with_control,
)
from optimizer.control_plane.split_rules import check_split
from optimizer.control_plane.tables import entities
from optimizer.errors import DeploymentError, SplitChanged


@dataclass(frozen=True, slots=True)
class SplitTerms:
    """On which terms a split is deployed.

    Attributes:
        is_pinned: scheduled runs do not replace the split.
        control_pct: percent that the entity's control gets, if it has one that the split does not name; the split's
            runs share the rest. 0: deploy the split as given.
        seen: ids of the active deployments on which the split was decided; None: whatever is active.
    """

    is_pinned: bool = False
    control_pct: int = 0
    seen: Collection[int] | None = None


def deploy(
    engine: Engine,
    *,
    entity_code: str,
    split: Mapping[str, int],
    author: Author,
    now: datetime,
    terms: SplitTerms = SplitTerms(),
) -> list[Deployment]:
    """Make `split` the entity's active one and return its deployments; the run with most traffic becomes active_run_id.

    Deploying the active split again writes no rows, so a retried task adds nothing to the history; a pin still takes
    effect.

    Args:
        split: {run_id: percent of the entity's traffic}, whole percents above 0 that sum to 100.

    Raises:
        DeploymentError: the entity or a run is unknown, a run has not completed or not passed its validation, or the
            percents are wrong; names all reasons together.
        SplitChanged: other deployments are active than those that were seen.
        UnavailableError: the database does not answer, or another user deployed at the same time.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        return with_control(split, entity["control_run_id"], terms.control_pct)

    change = SplitChange(choose, author, "manual", "deploy", is_pinned=terms.is_pinned, seen=terms.seen)
    return change_split(engine, change, entity_code=entity_code, now=now)


def promote(
    engine: Engine, promotion: Promotion, *, entity_code: str, author: Author, now: datetime
) -> list[Deployment]:
    """Give a run all the traffic but the control's, as a scheduled run gets it, and return the deployments.

    Args:
        author: the person who approved the run, or the system.

    Raises:
        PromotionRefused: a newer run or a person came first, or the split is pinned.
        DeploymentError, UnavailableError: as `deploy`.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        return with_control({promotion.run_id: 100}, entity["control_run_id"], promotion.control_pct)

    change = SplitChange(choose, author, "scheduled", "promote", promotion=promotion)
    return change_split(engine, change, entity_code=entity_code, now=now)


def set_pinned(
    engine: Engine,
    *,
    entity_code: str,
    is_pinned: bool,
    author: Author,
    now: datetime,
    seen: Collection[int] | None = None,
) -> list[Deployment]:
    """Pin the active split, so that scheduled runs do not replace it, or unpin it; return the active deployments.

    Args:
        seen: as in `SplitTerms`.

    Raises:
        DeploymentError: the entity is unknown, or nothing of it is live.
        SplitChanged: as `deploy`.
    """
    with transaction(engine) as connection:
        entity = find_entity(connection, entity_code, lock=True)
        active = select_active(connection, entity["entity_id"])
        check_seen(entity_code, active, seen=seen)
        if not active:
            raise DeploymentError(f"entity {entity_code}: nothing is live; deploy a split first")
        pin_active(connection, entity["entity_id"], active, is_pinned=is_pinned, author=author, now=now)
        return select_active(connection, entity["entity_id"])


def set_control(
    engine: Engine,
    *,
    entity_code: str,
    run_id: str | None,
    author: Author,
    now: datetime,
    seen: Collection[str] | None = None,
) -> None:
    """Make a run the entity's control: it gets the control share from the next split on. None: no control.

    A chosen none is a choice too: no control is made for the entity, and nothing asks for one anymore.

    Args:
        seen: run_id of the control on which this was decided, empty where there was none; None: whatever it is.

    Raises:
        DeploymentError: the entity is unknown, or the run may not be deployed.
        SplitChanged: the control is another one than the one that was seen.
    """
    with transaction(engine) as connection:
        entity = find_entity(connection, entity_code, lock=True)
        _check_control_seen(entity_code, entity["control_run_id"], seen=seen)
        if run_id is not None:
            check_split(connection, entity, split={run_id: 100}, refusal="the control cannot be set")
        is_none_new = run_id is None and entity["entity_id"] not in select_declined(connection, [entity["entity_id"]])
        if run_id == entity["control_run_id"] and not is_none_new:
            return
        is_this = entities.c.entity_id == entity["entity_id"]
        connection.execute(update(entities).where(is_this).values(control_run_id=run_id))
        before, after = ({"control_run_id": value} for value in (entity["control_run_id"], run_id))
        write_audit(
            connection,
            author,
            AuditedChange(SET_CONTROL, entity_id=entity["entity_id"], run_id=run_id, before=before, after=after),
            now=now,
        )


def _check_control_seen(entity_code: str, present: str | None, *, seen: Collection[str] | None) -> None:
    if seen is not None and set(seen) != ({present} - {None}):
        raise SplitChanged(
            f"entity {entity_code}: its control was changed meanwhile to {present or 'none'}; look at it and decide "
            "again"
        )
