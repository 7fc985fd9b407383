"""What bidders did with the impressions that they were asked for, by hour and outcome."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine, delete, func, insert, select, update

from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.records import BidderCount, read_rows
from optimizer.control_plane.tables import bidder_counts, entities


class HourCount(NamedTuple):
    """Impressions of one entity in one hour with one run and outcome, as one bidder process counted them until now.

    counted_hour: begin of the hour, UTC. run_id: empty where no run priced the impression.
    """

    entity_code: str
    counted_hour: datetime
    run_id: str
    outcome: str
    impressions: int


def write_counts(engine: Engine, bidder: str, counts: Iterable[HourCount], *, now: datetime) -> None:
    """Write the counts in place of what the same bidder wrote of the same hours; a repeated call changes nothing.

    Entities that the control plane does not know are left out.

    Raises:
        UnavailableError: the database is silent; nothing was written.
        ConfigError: it refuses the statement, or its tables are missing.
    """
    with transaction(engine) as connection:
        ids = {row.entity_code: row.entity_id for row in connection.execute(select(entities))}
        for count in counts:
            if count.entity_code not in ids:
                continue
            key = {
                "entity_id": ids[count.entity_code],
                "counted_hour": count.counted_hour,
                "bidder": bidder,
                "run_id": count.run_id,
                "outcome": count.outcome,
            }
            values = {"impressions": count.impressions, "written_at": now}
            same = [bidder_counts.c[name] == value for name, value in key.items()]
            if connection.execute(update(bidder_counts).where(*same).values(**values)).rowcount == 0:
                connection.execute(insert(bidder_counts).values(**key, **values))


def read_counts(
    engine: Engine, entity_code: str, *, since: datetime, until: datetime, run_id: str | None = None
) -> list[BidderCount]:
    """Return the entity's counts of the hours in [since, until), all bidders together, in the order of the hours.

    Args:
        run_id: count only the impressions that this run priced; None: all impressions.
    """
    total = func.sum(bidder_counts.c.impressions).label("impressions")
    statement = (
        select(bidder_counts.c.counted_hour, bidder_counts.c.outcome, total)
        .join(entities, entities.c.entity_id == bidder_counts.c.entity_id)
        .where(entities.c.entity_code == entity_code)
        .where(bidder_counts.c.counted_hour >= since, bidder_counts.c.counted_hour < until)
        .group_by(bidder_counts.c.counted_hour, bidder_counts.c.outcome)
        .order_by(bidder_counts.c.counted_hour, bidder_counts.c.outcome)
    )
    if run_id is not None:
        statement = statement.where(bidder_counts.c.run_id == run_id)
    with reading(engine) as connection:
        return read_rows(BidderCount, connection.execute(statement).mappings())


def remove_counts(engine: Engine, *, before: datetime) -> int:
    """Remove the counts of the hours before the moment; return how many rows went."""
    with transaction(engine) as connection:
        return connection.execute(delete(bidder_counts).where(bidder_counts.c.counted_hour < before)).rowcount
