"""Whether a live entity lacks the control that its config asks for, and what to do."""

from collections.abc import Iterable

from sqlalchemy import Engine

from optimizer.control_plane import deployment_history, entities
from optimizer.control_plane.control_choices import is_declined
from optimizer.control_plane.records import Deployment
from optimizer.deployment.split_settings import split_settings


def control_notice(
    entity_code: str,
    active: Iterable[Deployment],
    *,
    control_run_id: str | None,
    control_pct: int,
    is_declined: bool,
) -> str | None:
    """Return that the live entity has no control and how to choose one, or None where nothing is missing.

    An entity that was live before it had a control gets none automatically: its usual bids are the optimizer's own.

    Args:
        active: the entity's live runs.
        control_pct: percents that the entity's config gives to the control; 0: none is wanted.
        is_declined: a user chose that the entity has no control (`optimizer control ENTITY --none`).
    """
    if control_run_id is not None or control_pct == 0 or is_declined or not list(active):
        return None
    return (
        f"entity {entity_code}: it is live without a control, so what the optimizer saves is not measured "
        f"(control_pct={control_pct}). `optimizer control {entity_code} RUN` makes a run the control from the next "
        f"split on; `optimizer control {entity_code} --none` says that none is wanted"
    )


def read_control_notice(engine: Engine, entity_code: str) -> str | None:
    """Return the notice of the entity as it is now, or None.

    Raises:
        ConfigError: the entity is unknown, or its control_pct is wrong.
    """
    definition = entities.read_definition(engine, entity_code)
    return control_notice(
        entity_code,
        deployment_history.read_active(engine, entity_code),
        control_run_id=definition.entity.control_run_id,
        control_pct=split_settings(definition).control_pct,
        is_declined=is_declined(engine, definition.entity.entity_id),
    )
