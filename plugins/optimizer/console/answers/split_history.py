"""Which splits a client had, who changed what, and what was live at a moment."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from optimizer.console.answers.clients import SplitShare
from optimizer.console.context import Context
from optimizer.control_plane.audit import SYSTEM_PREFIX, read_audit
from optimizer.control_plane.deployment_history import read_first_at, read_split_at, read_splits
from optimizer.control_plane.records import AuditRow
from optimizer.control_plane.splits import Split

ROWS_A_SPLIT = 4
"""Deployments that a split has at most, as a rule."""


class Entry(BaseModel):
    """A change: a split, or another change of what is live, such as a pin.

    kind: split, or change. what: what was done, in words.
    action: of its audit row; None where other SQL wrote the split without one.
    ended_at: until when the split was live; None while it is.
    """

    kind: Literal["split", "change"]
    at: datetime
    by: str
    is_person: bool
    what: str
    action: str | None
    comment: str
    audit_id: int | None
    source: str | None = None
    split: list[SplitShare] = []
    ended_at: datetime | None = None
    is_active: bool = False
    is_pinned: bool = False


class SplitThen(BaseModel):
    """The split that was live at a moment, who put it there, and when."""

    split: list[SplitShare]
    deployed_by: str
    deployed_at: datetime
    ended_at: datetime | None
    source: str
    comment: str
    is_active: bool


class Then(BaseModel):
    """What was live at a moment.

    found: None where nothing was live. first_at: when the first split was deployed; None where nothing ever was.
    """

    at: datetime
    found: SplitThen | None
    first_at: datetime | None


class SplitHistory(BaseModel):
    """The newest changes, the newest first, and what was live at the moment that was asked for."""

    entries: list[Entry]
    has_more: bool
    then: Then | None


def read_history(asked: Context, entity_code: str, *, limit: int, at: datetime | None = None) -> SplitHistory:
    """Return the client's newest changes of what is live; five statements at most.

    Args:
        limit: how many.
        at: the moment to look up, not in the future.
    """
    engine = asked.systems.engine
    splits = read_splits(engine, entity_code, limit=ROWS_A_SPLIT * limit)
    entries = merge_entries(splits, read_audit(engine, entity_code, limit=ROWS_A_SPLIT * limit))
    then = None if at is None else read_then(asked, entity_code, at)
    return SplitHistory(entries=entries[:limit], has_more=len(entries) > limit, then=then)


def read_then(asked: Context, entity_code: str, at: datetime) -> Then:
    """Return what was live at a moment."""
    engine = asked.systems.engine
    split = read_split_at(engine, entity_code, at)
    return Then(at=at, found=None if split is None else _split_then(split), first_at=read_first_at(engine, entity_code))


def merge_entries(splits: Iterable[Split], rows: Iterable[AuditRow]) -> list[Entry]:
    """Return the splits and the other changes, the newest first; the audit row of a split is in its entry."""
    live_changes = [row for row in rows if row.action in WORDS]
    by_moment = {(row.occurred_at, row.actor): row for row in live_changes if _split_in(row) is not None}
    entries, used = [], set()
    for split in splits:
        row = by_moment.get((split.deployed_at, split.deployed_by or "unknown"))
        if row is not None:
            used.add(row.audit_id)
        entries.append(_split_entry(split, row))
    entries += [_change_entry(row) for row in live_changes if row.audit_id not in used]
    return sorted(entries, key=lambda entry: (entry.at, entry.audit_id or 0), reverse=True)


WORDS = {
    "deploy": "deployed",
    "promote": "a scheduled run went live",
    "rollback": "rolled back",
    "pin": "pinned the split",
    "unpin": "unpinned the split",
    "set_control": "chose the control",
    "start_canary": "started a canary",
    "move_canary": "moved the canary to its next step",
    "promote_canary": "gave the canary all the traffic",
    "pause_canary": "paused the canary",
    "resume_canary": "resumed the canary",
    "abort_canary": "aborted the canary",
    "approve": "approved",
    "reject": "rejected",
}
"""Audited action of what is live: what was done, in words. Other actions, such as a cancelled run, are left out."""


def _what(row: AuditRow) -> str:
    """What a change was, with the run that it was about."""
    words = WORDS[row.action]
    if row.action == "set_control":
        return f"{words}: {'none' if row.run_id is None else f'run {row.run_id}'}"
    return words if row.run_id is None else f"{words}: run {row.run_id}"


def _split_in(row: AuditRow) -> Any:
    is_split = row.action not in ("pin", "unpin") and isinstance(row.after_value, dict)
    return row.after_value.get("split") if is_split else None


def _split_entry(split: Split, row: AuditRow | None) -> Entry:
    return Entry(
        kind="split",
        at=split.deployed_at,
        by=split.deployed_by,
        is_person=not split.deployed_by.startswith(SYSTEM_PREFIX),
        what="written by other SQL" if row is None else WORDS[row.action],
        action=None if row is None else row.action,
        comment=split.comment,
        audit_id=None if row is None else row.audit_id,
        source=split.source,
        split=shares_of(split),
        ended_at=split.ended_at,
        is_active=split.is_active,
        is_pinned=split.is_pinned,
    )


def _change_entry(row: AuditRow) -> Entry:
    return Entry(
        kind="change",
        at=row.occurred_at,
        by=row.actor,
        is_person=row.is_person,
        what=_what(row),
        action=row.action,
        comment=row.comment,
        audit_id=row.audit_id,
    )


def _split_then(split: Split) -> SplitThen:
    return SplitThen(
        split=shares_of(split),
        deployed_by=split.deployed_by,
        deployed_at=split.deployed_at,
        ended_at=split.ended_at,
        source=split.source,
        comment=split.comment,
        is_active=split.is_active,
    )


def shares_of(split: Split) -> list[SplitShare]:
    """Return the runs of a split with their roles in it, the largest share first."""
    by_share: Sequence[tuple[str, int]] = sorted(split.percents.items(), key=lambda item: (-item[1], item[0]))
    return [SplitShare(run_id=run_id, traffic_pct=pct, role=_role(run_id, split)) for run_id, pct in by_share]


def _role(run_id: str, split: Split) -> str:
    return "control" if run_id == split.control_run_id else "canary" if run_id == split.canary_run_id else "main"
