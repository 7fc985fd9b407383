"""Whose S3 prefix is whose: runs of two entities below one prefix would overwrite each other."""

import re
from collections.abc import Iterable, Iterator

from sqlalchemy import RowMapping

_S3_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/\s]\S*")


def is_prefix(path: object) -> bool:
    """Return whether this is an s3://bucket/prefix/ that runs can lie below."""
    return isinstance(path, str) and _S3_PREFIX.fullmatch(path) is not None


def find_shared(rows: Iterable[RowMapping]) -> dict[int, str]:
    """Return {entity_id: reason} of the entities whose prefix is, holds or lies in an earlier entity's.

    An entity that is invalid here has no claim of its own, so one wrong prefix takes no third entity away.

    Args:
        rows: entity_id, entity_code and s3_base_path of all entities of any status, sorted by entity_id.
    """
    claimed: dict[str, RowMapping] = {}
    above_claimed: dict[str, RowMapping] = {}
    reasons = {}
    for row in rows:
        if not is_prefix(row["s3_base_path"]):
            continue
        prefix, *parents = _prefix_and_parents(row["s3_base_path"])
        owner = above_claimed.get(prefix) or next((claimed[p] for p in (prefix, *parents) if p in claimed), None)
        if owner is not None:
            reasons[row["entity_id"]] = _reason(row, owner)
            continue
        claimed[prefix] = row
        for parent in parents:
            above_claimed.setdefault(parent, row)
    return reasons


def _prefix_and_parents(path: str) -> Iterator[str]:
    """Yield s3://bucket/a/b, s3://bucket/a and s3://bucket for s3://bucket/a/b/."""
    path = path.rstrip("/")
    while path != "s3:/":
        yield path
        path = path.rpartition("/")[0]


def _reason(row: RowMapping, owner: RowMapping) -> str:
    return (
        f"opt_entities.s3_base_path={row['s3_base_path']!r} shares its place with {owner['s3_base_path']!r} of entity "
        f"{owner['entity_code']} (entity_id {owner['entity_id']}): their runs would overwrite each other; give it a "
        "prefix of its own"
    )
