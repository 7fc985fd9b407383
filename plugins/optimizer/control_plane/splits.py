"""An entity's deployments as splits: which runs shared its traffic, one split after the other, and the way back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from optimizer.control_plane.records import Deployment, Source
from optimizer.errors import DeploymentError

WHOLE_PCT = 100

_EXAMPLE = "write for example 20260203_150000=80 20260201_120000=20"


@dataclass(frozen=True, slots=True)
class Split:
    """Runs that were deployed together.

    source: how it came about; the source of its runs but the control's.
    canary_run_id: the run that it tries on a part of the traffic, or None.
    control_run_id: the run of it that is the pinned control, or None.
    ended_at: when the last of them was taken off; None while one of them is active.
    """

    percents: Mapping[str, int]
    deployed_by: str
    deployed_at: datetime
    is_active: bool
    ended_at: datetime | None
    source: Source = "manual"
    canary_run_id: str | None = None
    control_run_id: str | None = None
    is_pinned: bool = False
    comment: str = ""
    deployment_ids: tuple[int, ...] = field(default=(), repr=False)

    @property
    def total_pct(self) -> int:
        """The sum of the percents; only the SQL of others can make it anything but 100."""
        return sum(self.percents.values())


def percents_of(deployments: Iterable[Deployment]) -> dict[str, int]:
    """Return {run_id: percent}."""
    return {deployment.run_id: deployment.traffic_pct for deployment in deployments}


def read_split(given: str | Mapping[str, int], *, entity_code: str) -> dict[str, int]:
    """Return {run_id: percent} of a mapping, or of a text of RUN=PERCENT with blanks or commas between, or JSON.

    Args:
        entity_code: for messages.

    Raises:
        DeploymentError: the text is none of them, or names a run twice.
    """
    if isinstance(given, str) and not given.lstrip().startswith("{"):
        return parse_split(given.replace(",", " ").split(), entity_code=entity_code)
    if not isinstance(given, str):
        return dict(given)
    try:
        pairs = json.loads(given, object_pairs_hook=list)
    except ValueError as error:
        raise DeploymentError(f"entity {entity_code}: {given!r} is not a JSON object ({error}); {_EXAMPLE}") from None
    return _without_repeats(pairs, entity_code=entity_code)


def parse_split(items: Iterable[str], *, entity_code: str) -> dict[str, int]:
    """Return {run_id: percent} of RUN=PERCENT texts.

    Args:
        entity_code: for messages.

    Raises:
        DeploymentError: a text is not RUN=PERCENT, or a run is named twice.
    """
    return _without_repeats([_parse_share(item, entity_code=entity_code) for item in items], entity_code=entity_code)


def group_splits(history: Sequence[Deployment]) -> list[Split]:
    """Return the splits of an entity's deployments, the oldest first.

    Rows that were written one after the other, by the same person at the same moment, are one split. The UI writes
    such rows with its own SQL, so their percents may sum to anything.
    """
    splits: list[list[Deployment]] = []
    for row in sorted(history, key=lambda row: row.deployment_id):
        if splits and _belongs(row, splits[-1]):
            splits[-1].append(row)
        else:
            splits.append([row])
    return [_split(rows) for rows in splits]


def earlier_splits(history: Sequence[Split], *, present: Mapping[str, int]) -> list[Split]:
    """Return the splits that a rollback may go back to, the nearest first.

    Who deploys a split again goes back to it, and leaves behind whatever came in between; so one rollback after the
    other goes further and further back, and none returns to what was rolled back.

    Args:
        history: the oldest first.
        present: {run_id: percent} that is active.
    """
    path: list[Split] = []
    for split in history:
        path = _up_to(path, split.percents)
        path.append(split)
    return _up_to(path, present)[::-1]


def with_share(active: Mapping[str, int], *, run_id: str, pct: int, fixed: str | None = None) -> dict[str, int]:
    """Return the split that gives the run `pct` and leaves the rest to the others as they shared it.

    Whole percents, by largest remainders; a run that would be left with none is taken off. Without other runs the run
    gets all that is not fixed.

    Args:
        fixed: a run that keeps its percents, such as the control; None: all others make room.
    """
    fixed_pct = 0 if fixed is None or fixed == run_id else active.get(fixed, 0)
    kept = {fixed: fixed_pct} if fixed is not None and 0 < fixed_pct < WHOLE_PCT else {}
    others = {other: own for other, own in active.items() if other not in (run_id, *kept) and own > 0}
    rest = WHOLE_PCT - sum(kept.values())
    if not others:
        return {run_id: rest, **kept}
    rest, total = rest - pct, sum(others.values())
    shares = {other: own * rest // total for other, own in others.items()}
    by_remainder = sorted(others, key=lambda other: (-(others[other] * rest % total), -others[other], other))
    for other in by_remainder[: rest - sum(shares.values())]:
        shares[other] += 1
    return {**{other: share for other, share in shares.items() if share > 0}, run_id: pct, **kept}


def _parse_share(item: str, *, entity_code: str) -> tuple[str, int]:
    run_id, _, percent = item.partition("=")
    if not run_id or not percent:
        raise DeploymentError(f"entity {entity_code}: {item!r} is not RUN=PERCENT; {_EXAMPLE}")
    if not (percent.isascii() and percent.isdecimal()):
        raise DeploymentError(
            f"entity {entity_code}: run {run_id} has {percent!r} percent; give it a whole number from 1 to 100: "
            f"{_EXAMPLE}"
        )
    return run_id, int(percent)


def _without_repeats(pairs: Iterable[tuple[str, int]], *, entity_code: str) -> dict[str, int]:
    split: dict[str, int] = {}
    for run_id, percent in pairs:
        if run_id in split:
            raise DeploymentError(f"entity {entity_code}: run {run_id} is named twice; name each run once: {_EXAMPLE}")
        split[run_id] = percent
    return split


def _belongs(row: Deployment, split: list[Deployment]) -> bool:
    same_moment = (row.deployed_by, row.deployed_at) == (split[-1].deployed_by, split[-1].deployed_at)
    is_full = sum(other.traffic_pct for other in split) >= WHOLE_PCT
    return same_moment and not is_full and row.run_id not in percents_of(split)


def _split(rows: list[Deployment]) -> Split:
    is_active = any(row.is_active for row in rows)
    ends = [row.deactivated_at for row in rows if row.deactivated_at is not None]
    main = next((row for row in rows if row.source != "control"), rows[0])
    return Split(
        percents=percents_of(rows),
        deployed_by=rows[0].deployed_by,
        deployed_at=rows[0].deployed_at,
        is_active=is_active,
        ended_at=None if is_active else max(ends, default=None),
        source=main.source,
        canary_run_id=main.canary_run_id,
        control_run_id=next((row.run_id for row in rows if row.source == "control"), None),
        is_pinned=main.is_pinned,
        comment=main.comment,
        deployment_ids=tuple(row.deployment_id for row in rows),
    )


def _up_to(path: list[Split], percents: Mapping[str, int]) -> list[Split]:
    """The path before the split with these percents; all of it where there is none."""
    found = [index for index, split in enumerate(path) if split.percents == percents]
    return path[: found[0]] if found else list(path)
