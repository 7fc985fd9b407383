"""The newest of an entity's runs and measurements, as parts of a statement over opt_entities.

Each is the first entry of an index read backwards, however much lies behind it.
"""

from datetime import date

from sqlalchemy import ColumnElement, ScalarSelect, select

from optimizer.control_plane.records import status_words
from optimizer.control_plane.registry import CONTROL_TRIGGER
from optimizer.control_plane.tables import entities, live_verdicts, runs


def newest_id() -> ScalarSelect[str]:
    """Return the entity's newest run that completed or failed, without dry runs and controls."""
    return _newest_id(runs.c.status.in_(status_words("completed", "failed")))


def newest_good_id() -> ScalarSelect[str]:
    """Return the entity's newest run that completed and passed its validation, without dry runs and controls."""
    return _newest_id(runs.c.status.in_(status_words("completed")), runs.c.validation_status == "passed")


def latest_measurement() -> ScalarSelect[date]:
    """Return the morning on which the entity's live runs were measured last."""
    own = live_verdicts.alias("own_verdicts")
    mornings = select(own.c.measured_on).where(own.c.entity_id == entities.c.entity_id)
    return mornings.order_by(own.c.measured_on.desc()).limit(1).correlate(entities).scalar_subquery()


def _newest_id(*wanted: ColumnElement[bool]) -> ScalarSelect[str]:
    own = (runs.c.is_dry_run.is_(False), runs.c.trigger_type != CONTROL_TRIGGER)
    of_entity = select(runs.c.run_id).where(runs.c.entity_id == entities.c.entity_id, *own, *wanted)
    newest_first = (runs.c.created_at.desc(), runs.c.run_id.desc())
    first = of_entity.order_by(*newest_first).limit(1).correlate(entities)
    # Left to choose, MariaDB may sort all runs of each entity instead, by what its statistics happen to say.
    return first.with_hint(runs, "FORCE INDEX (ix_opt_runs_entity_id_created_at)", "mysql").scalar_subquery()
