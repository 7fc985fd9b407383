"""The incidents of runs: one that waits for approval, and one that failed."""

from datetime import datetime

from sqlalchemy import Engine

from optimizer.control_plane.alerts import Incident, record_incidents

APPROVAL_WAITING = "approval_waiting"
RUN_FAILED = "run_failed"


def open_approval(engine: Engine, entity_id: int, *, run_id: str, message: str, now: datetime) -> None:
    """Open the incident of a run that waits for approval; a run of the entity that waited before waits no more."""
    waiting = Incident(APPROVAL_WAITING, message, run_id)
    record_incidents(engine, entity_id, [waiting], kinds=[APPROVAL_WAITING], now=now)


def close_approval(engine: Engine, entity_id: int, *, now: datetime) -> None:
    """Close the incident of the run that waited: its DAG run has ended."""
    record_incidents(engine, entity_id, [], kinds=[APPROVAL_WAITING], now=now)


def open_failure(engine: Engine, entity_id: int, *, message: str, now: datetime) -> None:
    """Open the incident of a failed run; where one is open, it gets the newer message. No run waits anymore."""
    failed = Incident(RUN_FAILED, message)
    record_incidents(engine, entity_id, [failed], kinds=[RUN_FAILED, APPROVAL_WAITING], now=now)


def close_failure(engine: Engine, entity_id: int, *, now: datetime) -> None:
    """Close the incidents of the entity's runs: one has completed."""
    record_incidents(engine, entity_id, [], kinds=[RUN_FAILED, APPROVAL_WAITING], now=now)
