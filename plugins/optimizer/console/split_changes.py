"""The changes of what is live that the console makes: the operations of the command line, on what the user saw."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from optimizer.console.answers.split_preview import plan_return
from optimizer.console.context import Context
from optimizer.control_plane import canaries, canary_splits, deployments
from optimizer.control_plane.deployments import SplitTerms
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.records import Canary, Deployment
from optimizer.deployment.served_files import require_files
from optimizer.deployment.serving_snapshots import update_after_change
from optimizer.deployment.split_settings import split_settings
from optimizer.errors import DeploymentError, SplitChanged, UnavailableError

log = logging.getLogger(__name__)

UNCHECKED_HINT = "deploy without the check if the bidders must change now and you know that the files are there"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a user decided on: the live deployments that they saw, and why they change them.

    unchecked: the runs' files are not checked, for an outage of the object store.
    """

    seen: Collection[int]
    comment: str
    unchecked: bool = False


def deploy_split(
    asked: Context,
    entity_code: str,
    split: Mapping[str, int],
    decision: Decision,
    *,
    is_pinned: bool = False,
    no_control: bool = False,
) -> list[Deployment]:
    """Deploy a split as `optimizer deploy` does, and return the live deployments.

    Raises:
        SplitChanged: another split is live than the one that was seen.
        DeploymentError: the split is not allowed, or its files cannot be served.
        UnavailableError: a system is silent; of the object store only where the files are to be checked.
    """
    author, engine = asked.author(decision.comment), asked.systems.engine
    settings = split_settings(read_definition(engine, entity_code))
    if not decision.unchecked:
        require_files(split, entity_code=entity_code, engine=engine, store=asked.systems.store)
    active = deployments.deploy(
        engine,
        entity_code=entity_code,
        split=split,
        author=author,
        now=asked.now,
        terms=SplitTerms(
            is_pinned=is_pinned, control_pct=0 if no_control else settings.control_pct, seen=decision.seen
        ),
    )
    _write_snapshot(asked, entity_code, unchecked=decision.unchecked)
    return active


def roll_back(
    asked: Context, entity_code: str, decision: Decision, *, to: Mapping[str, int] | None = None
) -> list[Deployment]:
    """Go back to an earlier split as `optimizer rollback` does, and return the live deployments.

    Args:
        to: the split that the preview showed; None: wherever the rollback goes.

    Raises:
        SplitChanged: another split is live than the one that was seen, or the rollback goes elsewhere than shown.
        DeploymentError, UnavailableError: as `deploy_split`.
    """
    author = asked.author(decision.comment)
    plan, are_checked = plan_return(asked, entity_code)
    if not are_checked and not decision.unchecked:
        raise UnavailableError(
            f"entity {entity_code}: the object store does not answer, so the files of the earlier split cannot be "
            f"checked; nothing was changed. Try again, or {UNCHECKED_HINT}"
        )
    if to is not None and plan.split != dict(to) and set(plan.seen) == set(decision.seen):
        raise SplitChanged(
            f"entity {entity_code}: a rollback goes to another split now than the preview showed; look at it and "
            "decide again"
        )
    active = deployments.deploy(
        asked.systems.engine,
        entity_code=entity_code,
        split=plan.split,
        author=author,
        now=asked.now,
        terms=SplitTerms(seen=decision.seen),
    )
    _write_snapshot(asked, entity_code, unchecked=decision.unchecked)
    return active


def change_canary(
    asked: Context, entity_code: str, action: Literal["pause", "resume", "abort"], *, run_id: str, comment: str
) -> Canary | None:
    """Pause, resume or abort the canary of a run as `optimizer canary` does; return the entity's canary afterwards.

    An abort takes the run off whatever the monitor did to it since the user looked.

    Raises:
        SplitChanged: that run is not being tried anymore.
        DeploymentError, UnavailableError: as `deploy_split`.
    """
    author, engine = asked.author(comment), asked.systems.engine
    if action == "abort":
        last = canaries.read_last(engine, entity_code)
        if last is None or last.run_id != run_id:
            raise DeploymentError(f"entity {entity_code}: run {run_id} is not the run that was tried last")
        canary_splits.abort_canary(engine, entity_code=entity_code, run_id=run_id, author=author, now=asked.now)
        _write_snapshot(asked, entity_code)
        return canaries.read_open(engine, entity_code)
    return canary_splits.pause_canary(
        engine, entity_code=entity_code, author=author, now=asked.now, is_paused=action == "pause", run_id=run_id
    )


def pin_split(asked: Context, entity_code: str, *, is_pinned: bool, decision: Decision) -> list[Deployment]:
    """Pin or unpin the live split as `optimizer pin` does, and return the live deployments.

    Raises:
        SplitChanged: another split is live than the one that was seen.
        DeploymentError, UnavailableError: nothing is live, or the control plane is silent.
    """
    return deployments.set_pinned(
        asked.systems.engine,
        entity_code=entity_code,
        is_pinned=is_pinned,
        author=asked.author(decision.comment),
        now=asked.now,
        seen=decision.seen,
    )


def choose_control(
    asked: Context, entity_code: str, run_id: str | None, *, seen: Collection[str] | None, comment: str
) -> None:
    """Make a run the control from the next split on, or choose that there is none, as `optimizer control` does.

    Raises:
        SplitChanged: the control is another one than the one that was seen.
        DeploymentError, UnavailableError: the run may not be deployed, or the control plane is silent.
    """
    deployments.set_control(
        asked.systems.engine,
        entity_code=entity_code,
        run_id=run_id,
        author=asked.author(comment),
        now=asked.now,
        seen=seen,
    )


def _write_snapshot(asked: Context, entity_code: str, *, unchecked: bool = False) -> None:
    """Write the entity's snapshot; during an outage of the object store, the DAG `pending_runs` writes it later."""
    if unchecked:
        return
    late = update_after_change(entity_code, engine=asked.systems.engine, store=asked.systems.store, now=asked.now)
    if late is not None:
        log.warning("%s", late)
