"""What is live of a client and everything that changes it, as JSON."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from optimizer.console.access import require_readable, require_writable
from optimizer.console.answers.split import SplitState, read_split_state
from optimizer.console.answers.split_history import SplitHistory, read_history
from optimizer.console.answers.split_preview import SplitPreview, preview_deploy, preview_return
from optimizer.console.context import Asked, Context
from optimizer.console.moments import in_utc
from optimizer.console.split_changes import (
    Decision,
    change_canary,
    choose_control,
    deploy_split,
    pin_split,
    roll_back,
)
from optimizer.control_plane.audit import MAX_COMMENT
from optimizer.control_plane.canaries import read_open
from optimizer.control_plane.entities import require_entity
from optimizer.control_plane.records import Canary, Deployment
from optimizer.control_plane.runs import MAX_RUN_ID_LENGTH
from optimizer.errors import DeploymentError
from optimizer.names import CONSOLE_API_PATH

router = APIRouter(tags=["split"])

_API = f"{CONSOLE_API_PATH}/clients/{{entity_code}}"

MAX_HISTORY = 250

PROBLEMS: dict[int | str, dict[str, Any]] = {
    403: {"description": "You may not change this client."},
    404: {"description": "There is no such client, or you may not read it."},
    409: {"description": "The change is not allowed; `detail` names every reason. Nothing was changed."},
    412: {"description": "Another user changed it since you looked; `detail` says to what. Nothing was changed."},
    503: {"description": "A system does not answer. Nothing was changed."},
}
"""How a write can be refused; every answer but 2xx is an application/problem+json."""

RunId = Annotated[str, Field(min_length=1, max_length=MAX_RUN_ID_LENGTH, examples=["20260204_070000"])]
Comment = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_COMMENT,
        description="Why, for the history and the audit.",
        examples=["try a higher target"],
    ),
]
Seen = Annotated[
    list[int],
    Field(
        max_length=100,
        description="`seen` of the preview or of the split: another live split since then is refused with 412.",
        examples=[[41, 42]],
    ),
]
Percents = Annotated[
    dict[RunId, int],
    Field(
        max_length=100,
        description="{run_id: percent}, whole percents that sum to 100. The control's share is added where the split "
        "does not name the control.",
        examples=[{"20260204_060000": 80, "20260204_070000": 20}],
    ),
]
Search = Annotated[str, Query(max_length=100, description="Only runs whose run_id contains this text.")]
Limit = Annotated[int, Query(ge=1, le=MAX_HISTORY, description="How many changes.")]
Moment = Annotated[
    datetime | None,
    Query(description="A past moment, ISO 8601; without a zone it is UTC.", examples=["2026-02-03T15:00:00Z"]),
]


class WantedSplit(BaseModel):
    """A split to look at. is_pinned: scheduled runs do not replace it. no_control: the shares as they are."""

    split: Percents
    is_pinned: bool = False
    no_control: bool = False


class SplitDecision(WantedSplit):
    """A split to deploy. unchecked: do not check the runs' files, for an outage of S3."""

    comment: Comment
    seen: Seen
    unchecked: bool = False


class RollbackDecision(BaseModel):
    """A rollback. split: where the preview said that it goes; where it goes elsewhere now, it is refused with 412."""

    comment: Comment
    seen: Seen
    split: Percents | None = None
    unchecked: bool = False


class PinDecision(BaseModel):
    """Pin the live split, or unpin it."""

    is_pinned: bool
    comment: Comment
    seen: Seen


class CanaryDecision(BaseModel):
    """What becomes of the run that is being tried. run_id: the run that you saw being tried."""

    action: Literal["pause", "resume", "abort"]
    run_id: RunId
    comment: Comment


class ControlDecision(BaseModel):
    """The control from the next split on; run_id null: none. seen: the run_id of the present control, or []."""

    run_id: RunId | None
    comment: Comment
    seen: Annotated[list[RunId], Field(max_length=1, examples=[["control_20260204_060000"]])]


@router.get(f"{_API}/split")
def get_split(asked: Asked, entity_code: str, search: Search = "") -> SplitState:
    """Return what is live, by whom and since when, the canary, the control, and the runs that may be deployed."""
    return read_split_state(asked, require_readable(asked.visitor, entity_code), search=search)


@router.post(f"{_API}/split/preview")
def preview_split(asked: Asked, entity_code: str, wanted: WantedSplit) -> SplitPreview:
    """Return what a deployment of the split would do; nothing is written."""
    require_readable(asked.visitor, entity_code)
    return preview_deploy(asked, entity_code, wanted.split, is_pinned=wanted.is_pinned, no_control=wanted.no_control)


@router.post(f"{_API}/split", responses=PROBLEMS)
def post_split(asked: Asked, entity_code: str, wanted: SplitDecision) -> list[Deployment]:
    """Deploy a split, as `optimizer deploy` does; returns the live deployments."""
    require_writable(asked.visitor, entity_code)
    decision = Decision(wanted.seen, wanted.comment, unchecked=wanted.unchecked)
    return deploy_split(
        asked, entity_code, wanted.split, decision, is_pinned=wanted.is_pinned, no_control=wanted.no_control
    )


@router.get(f"{_API}/rollback/preview", responses={409: PROBLEMS[409]})
def preview_rollback(asked: Asked, entity_code: str) -> SplitPreview:
    """Return where a rollback would go, what it passes over and why, and what it would do; nothing is written."""
    return preview_return(asked, require_readable(asked.visitor, entity_code))


@router.post(f"{_API}/rollback", responses=PROBLEMS)
def post_rollback(asked: Asked, entity_code: str, wanted: RollbackDecision) -> list[Deployment]:
    """Go back to the split before the present one, as `optimizer rollback` does; returns the live deployments."""
    require_writable(asked.visitor, entity_code)
    decision = Decision(wanted.seen, wanted.comment, unchecked=wanted.unchecked)
    return roll_back(asked, entity_code, decision, to=wanted.split)


@router.post(f"{_API}/pin", responses=PROBLEMS)
def post_pin(asked: Asked, entity_code: str, wanted: PinDecision) -> list[Deployment]:
    """Pin the live split, so that scheduled runs do not replace it, or unpin it; returns the live deployments."""
    require_writable(asked.visitor, entity_code)
    decision = Decision(wanted.seen, wanted.comment)
    return pin_split(asked, entity_code, is_pinned=wanted.is_pinned, decision=decision)


@router.get(f"{_API}/canary/preview", responses={409: PROBLEMS[409]})
def preview_abort(asked: Asked, entity_code: str) -> SplitPreview:
    """Return what an abort of the canary would do: the split that comes back; nothing is written."""
    return preview_return(asked, require_readable(asked.visitor, entity_code), without=tried_run(asked, entity_code))


@router.post(f"{_API}/canary", responses=PROBLEMS)
def post_canary(asked: Asked, entity_code: str, wanted: CanaryDecision) -> Canary | None:
    """Pause, resume or abort the canary, as `optimizer canary` does; returns it, or null where none is open."""
    require_writable(asked.visitor, entity_code)
    return change_canary(asked, entity_code, wanted.action, run_id=wanted.run_id, comment=wanted.comment)


@router.post(f"{_API}/control", responses=PROBLEMS)
def post_control(asked: Asked, entity_code: str, wanted: ControlDecision) -> SplitState:
    """Choose the control from the next split on, or none, as `optimizer control` does; returns what is live."""
    require_writable(asked.visitor, entity_code)
    choose_control(asked, entity_code, wanted.run_id, seen=wanted.seen, comment=wanted.comment)
    return read_split_state(asked, entity_code)


@router.get(f"{_API}/history")
def get_history(asked: Asked, entity_code: str, limit: Limit = 50, at: Moment = None) -> SplitHistory:
    """Return the splits and other changes of what is live, the newest first, and what was live at a moment."""
    require_entity(asked.systems.engine, require_readable(asked.visitor, entity_code))
    return read_history(asked, entity_code, limit=limit, at=None if at is None else past_moment(asked, at))


def past_moment(asked: Context, at: datetime) -> datetime:
    """Return the moment in UTC.

    Raises:
        HTTPException: 422, it lies in the future, or out of range.
    """
    moment = in_utc(at)
    if moment > asked.now:
        raise HTTPException(422, f"{moment:%Y-%m-%d %H:%M} UTC is in the future; choose a past time")
    return moment


def tried_run(asked: Context, entity_code: str) -> str:
    """Return the run that is being tried.

    Raises:
        UnknownEntity: there is no such client.
        DeploymentError: none is.
    """
    require_entity(asked.systems.engine, entity_code)
    tried = read_open(asked.systems.engine, entity_code)
    if tried is None:
        raise DeploymentError(f"entity {entity_code}: no run is being tried")
    return tried.run_id
