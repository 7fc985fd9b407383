"""A client's settings: shown, reviewed and saved."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field

from optimizer.console.access import require_readable, require_writable
from optimizer.console.answers.settings import SettingChange, Settings, changes_of, read_settings, values_of
from optimizer.console.context import Asked
from optimizer.console.forms import Form
from optimizer.console.rendering import client_address, render
from optimizer.control_plane.audit import MAX_COMMENT
from optimizer.control_plane.entity_values import Values
from optimizer.control_plane.records import EntityValue
from optimizer.names import CONSOLE_API_PATH
from optimizer.runs.requests import change_config

router = APIRouter()

_API = f"{CONSOLE_API_PATH}/clients/{{entity_code}}/settings"
_PAGE = "/clients/{entity_code}/settings"


Key = Annotated[str, Field(max_length=100)]
Value = Annotated[str, Field(max_length=1000)]
"""As long as their columns; a text with a bound is also checked to be whole Unicode."""


class SettingsChange(BaseModel):
    """A change of settings.

    set: {config_key: the value as text}; null: the version's default counts.
    seen: what these keys had when the change was decided; a key that has another value since then is refused with 412.
    """

    set: dict[Key, Value | None] = Field(min_length=1, examples=[{"target_win_rate": "0.35"}])
    seen: dict[Key, Value | None] = Field(default_factory=dict, examples=[{"target_win_rate": "0.3"}])
    comment: Annotated[str, Field(max_length=MAX_COMMENT, examples=["more reach for the launch"])]


@router.get(_API)
def get_settings(asked: Asked, entity_code: str) -> Settings:
    """Return the client's settings, their bounds and sources, and the latest changes."""
    return read_settings(asked, require_readable(asked.visitor, entity_code))


@router.post(f"{_API}/preview")
def preview_settings(asked: Asked, entity_code: str, wanted: dict[Key, Value | None]) -> list[SettingChange]:
    """Return what these values would change, and what is wrong with them; nothing is written."""
    return changes_of(asked, require_readable(asked.visitor, entity_code), wanted)


@router.patch(_API)
def patch_settings(asked: Asked, entity_code: str, wanted: SettingsChange) -> dict[str, EntityValue]:
    """Change settings; the next run takes them. Returns the client's own values afterwards."""
    require_writable(asked.visitor, entity_code)
    changes_of(asked, entity_code, wanted.set)
    return _save(asked, entity_code, wanted.set, seen=wanted.seen, comment=wanted.comment)


@router.get(_PAGE, include_in_schema=False)
def show_settings(request: Request, asked: Asked, entity_code: str, saved: str = "") -> HTMLResponse:
    """Show the settings as a form."""
    found = read_settings(asked, require_readable(asked.visitor, entity_code))
    can_write = entity_code in asked.visitor.writable([entity_code])
    return render(
        request,
        "settings",
        entity_code=entity_code,
        tab="Settings",
        found=found,
        can_write=can_write,
        saved=bool(saved),
    )


@router.post(f"{_PAGE}/review", include_in_schema=False)
def review_settings(request: Request, asked: Asked, entity_code: str, form: Form) -> HTMLResponse:
    """Show what the form would change before anything is written."""
    require_writable(asked.visitor, entity_code)
    changes = changes_of(asked, entity_code, values_of(form))
    return render(
        request,
        "settings_review",
        entity_code=entity_code,
        tab="Settings",
        changes=changes,
        seen=values_of(form, "seen."),
        comment=form.get("comment", ""),
    )


@router.post(_PAGE, include_in_schema=False)
def save_settings(request: Request, asked: Asked, entity_code: str, form: Form) -> RedirectResponse:
    """Save the reviewed change and show the settings again."""
    require_writable(asked.visitor, entity_code)
    wanted = values_of(form)
    changes_of(asked, entity_code, wanted)
    _save(asked, entity_code, wanted, seen=values_of(form, "seen."), comment=form.get("comment", ""))
    return RedirectResponse(f"{client_address(request, entity_code)}/settings?saved=yes", 303)


def _save(asked: Asked, entity_code: str, wanted: Values, *, seen: Values, comment: str) -> dict[str, EntityValue]:
    own = {key: value for key, value in seen.items() if key in wanted}
    return change_config(
        asked.systems.engine, entity_code, wanted, seen=own, author=asked.author(comment), now=asked.now
    )
