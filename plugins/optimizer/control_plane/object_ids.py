"""Whose bids are whose: two active entities with one object_id would learn from, and bid on, the same traffic."""

from collections.abc import Iterable

from sqlalchemy import RowMapping


def find_shared(rows: Iterable[RowMapping]) -> dict[int, str]:
    """Return {entity_id: reason} of the active entities whose object_id an earlier active entity has.

    Args:
        rows: entity_id, entity_code, object_id and status of all entities, sorted by entity_id.
    """
    owners: dict[int, str] = {}
    reasons = {}
    for row in rows:
        if row["status"] != "A":
            continue
        owner = owners.setdefault(row["object_id"], row["entity_code"])
        if owner != row["entity_code"]:
            reasons[row["entity_id"]] = (
                f"opt_entities.object_id={row['object_id']} is that of the active entity {owner}, so both would learn "
                "from the same bids; give one of them another object_id, or set its status to 'I'"
            )
    return reasons
