"""The page of a client's split: shown, previewed and changed."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from optimizer.console.access import require_readable, require_writable
from optimizer.console.answers.split import read_split_state
from optimizer.console.answers.split_history import Then, read_history, read_then
from optimizer.console.answers.split_preview import SplitPreview, preview_deploy, preview_return
from optimizer.console.context import Asked, Context
from optimizer.console.failures import status_of
from optimizer.console.forms import Form
from optimizer.console.moments import read_moment
from optimizer.console.rendering import client_address, render
from optimizer.console.routes.split_api import MAX_HISTORY, past_moment, tried_run
from optimizer.console.split_changes import (
    Decision,
    change_canary,
    choose_control,
    deploy_split,
    pin_split,
    roll_back,
)
from optimizer.console.split_forms import SplitForm, read_split_form, whole_numbers
from optimizer.errors import DeploymentError, OptimizerError

router = APIRouter(include_in_schema=False)

_PAGE = "/clients/{entity_code}/split"

SHORT_HISTORY = 15

DONE = {
    "deployed": "The split is live. Bidders load it within a minute.",
    "rolled-back": "The earlier split is live again. Bidders load it within a minute.",
    "pinned": "The split is pinned: scheduled runs do not replace it.",
    "unpinned": "The split is not pinned anymore.",
    "pause": "The canary is paused at its step.",
    "resume": "The canary goes on.",
    "abort": "The canary is aborted: its run has no traffic.",
    "control": "The control is chosen. It takes effect with the next split.",
}
"""What was done, by the name of it in the address."""

Search = Annotated[str, Query(max_length=100)]


@router.get(_PAGE)
def show_split(
    request: Request,
    asked: Asked,
    entity_code: str,
    search: Search = "",
    done: str = "",
    at: str = "",
    history: Annotated[int, Query(ge=1, le=MAX_HISTORY)] = SHORT_HISTORY,
) -> HTMLResponse:
    """Show what is live, the form for another split, and the history."""
    require_readable(asked.visitor, entity_code)
    form = read_split_form(request.query_params)
    then, at_error = _then(asked, entity_code, at)
    return render(
        request,
        "split",
        **_page(asked, entity_code),
        found=read_split_state(asked, entity_code, search=search, chosen=form.fields),
        form=form if form.fields else None,
        search=search,
        done=DONE.get(done, ""),
        past=read_history(asked, entity_code, limit=history),
        history=history,
        more=min(MAX_HISTORY, 4 * history),
        at=at or f"{asked.now:%Y-%m-%dT%H:%M}",
        then=then,
        at_error=at_error,
    )


@router.get(f"{_PAGE}/preview")
def show_preview(request: Request, asked: Asked, entity_code: str) -> HTMLResponse:
    """Show what the form's split would do; for htmx as a part of the page."""
    require_readable(asked.visitor, entity_code)
    form = read_split_form(request.query_params)
    return _show(request, asked, entity_code, _preview_form(asked, entity_code, form), form=form)


@router.post(_PAGE)
def save_split(request: Request, asked: Asked, entity_code: str, form: Form) -> Response:
    """Deploy the split that was previewed; refused, say why and show the preview as it is now."""
    require_writable(asked.visitor, entity_code)
    wanted = read_split_form(form)

    def change() -> None:
        if wanted.unread:
            raise DeploymentError(f"entity {entity_code}: {'; '.join(wanted.unread)}")
        decision = _decision(form)
        deploy_split(
            asked, entity_code, wanted.split, decision, is_pinned=wanted.is_pinned, no_control=wanted.no_control
        )

    return _attempt(
        request,
        asked,
        entity_code,
        change,
        done="deployed",
        again=lambda: _preview_form(asked, entity_code, wanted),
        form=wanted,
        comment=form.get("comment", ""),
    )


@router.get(f"{_PAGE}/rollback")
def show_rollback(request: Request, asked: Asked, entity_code: str) -> HTMLResponse:
    """Show what a rollback would do."""
    require_readable(asked.visitor, entity_code)
    return _show_return(request, asked, entity_code, kind="rollback")


@router.post(f"{_PAGE}/rollback")
def save_rollback(request: Request, asked: Asked, entity_code: str, form: Form) -> Response:
    """Roll back as previewed."""
    require_writable(asked.visitor, entity_code)
    shown = read_split_form(form)
    return _attempt(
        request,
        asked,
        entity_code,
        lambda: roll_back(asked, entity_code, _decision(form), to=shown.split or None),
        done="rolled-back",
        again=lambda: preview_return(asked, entity_code),
        comment=form.get("comment", ""),
    )


@router.get(f"{_PAGE}/abort")
def show_abort(request: Request, asked: Asked, entity_code: str) -> HTMLResponse:
    """Show what an abort of the canary would do."""
    require_readable(asked.visitor, entity_code)
    return _show_return(request, asked, entity_code, kind="abort")


@router.post(f"{_PAGE}/canary")
def save_canary(request: Request, asked: Asked, entity_code: str, form: Form) -> RedirectResponse:
    """Pause, resume or abort the canary."""
    require_writable(asked.visitor, entity_code)
    action = _one_of(form, "action", ("pause", "resume", "abort"))
    change_canary(asked, entity_code, action, run_id=form.get("run_id", ""), comment=form.get("comment", ""))
    return _back(request, entity_code, action)


@router.post(f"{_PAGE}/pin")
def save_pin(request: Request, asked: Asked, entity_code: str, form: Form) -> RedirectResponse:
    """Pin or unpin the live split."""
    require_writable(asked.visitor, entity_code)
    action = _one_of(form, "action", ("pin", "unpin"))
    pin_split(asked, entity_code, is_pinned=action == "pin", decision=_decision(form))
    return _back(request, entity_code, f"{action}ned")


@router.post(f"{_PAGE}/control")
def save_control(request: Request, asked: Asked, entity_code: str, form: Form) -> RedirectResponse:
    """Choose the control, or none."""
    require_writable(asked.visitor, entity_code)
    seen = [form["seen_control"]] if form.get("seen_control") else []
    choose_control(asked, entity_code, form.get("run_id") or None, seen=seen, comment=form.get("comment", ""))
    return _back(request, entity_code, "control")


def _page(asked: Context, entity_code: str) -> dict[str, Any]:
    can_write = entity_code in asked.visitor.writable([entity_code])
    return {"entity_code": entity_code, "tab": "Split", "can_write": can_write}


def _preview_form(asked: Context, entity_code: str, form: SplitForm) -> SplitPreview:
    return preview_deploy(
        asked, entity_code, form.split, is_pinned=form.is_pinned, no_control=form.no_control, unread=form.unread
    )


def _show(
    request: Request,
    asked: Context,
    entity_code: str,
    preview: SplitPreview | None,
    *,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A preview as a page, or for htmx as the part of a page."""
    template = "split_preview_part" if "HX-Request" in request.headers else "split_preview"
    shown = {"form": None, "refused": "", "comment": "", **values}
    return render(request, template, status=status, **_page(asked, entity_code), preview=preview, **shown)


def _show_return(
    request: Request, asked: Context, entity_code: str, *, kind: Literal["rollback", "abort"]
) -> HTMLResponse:
    try:
        without = tried_run(asked, entity_code) if kind == "abort" else None
        preview = preview_return(asked, entity_code, without=without)
    except DeploymentError as error:
        return _show(request, asked, entity_code, None, refused=str(error))
    return _show(request, asked, entity_code, preview, tried_run_id=without)


def _attempt(
    request: Request,
    asked: Context,
    entity_code: str,
    change: Callable[[], object],
    *,
    done: str,
    again: Callable[[], SplitPreview],
    **values: Any,
) -> Response:
    """Make the change and go back to the page; refused, show the reason and the preview as it is now."""
    try:
        change()
    except (OptimizerError, HTTPException) as error:
        refused = str(error.detail) if isinstance(error, HTTPException) else str(error)
        try:
            preview = again()
        except DeploymentError:
            preview = None
        return _show(request, asked, entity_code, preview, status=status_of(error), refused=refused, **values)
    return _back(request, entity_code, done)


def _back(request: Request, entity_code: str, done: str) -> RedirectResponse:
    return RedirectResponse(f"{client_address(request, entity_code)}/split?done={done}", 303)


def _decision(form: Mapping[str, str]) -> Decision:
    return Decision(
        whole_numbers(form.get("seen", "")), form.get("comment", ""), unchecked=form.get("unchecked") == "yes"
    )


def _one_of(form: Mapping[str, str], name: str, words: tuple[str, ...]) -> Any:
    if form.get(name) not in words:
        raise HTTPException(422, f"{name} is {form.get(name)!r}; it must be {' or '.join(words)}")
    return form[name]


def _then(asked: Context, entity_code: str, at: str) -> tuple[Then | None, str]:
    """What was live at the time in the address, or why that is not known."""
    if not at:
        return None, ""
    try:
        moment = past_moment(asked, read_moment(at))
    except HTTPException as error:
        return None, str(error.detail)
    return read_then(asked, entity_code, moment), ""
