"""What other settings would bring: the live run, or a run of the client, priced again without training."""

from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel

from optimizer.console.context import Context
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.entity_values import Values, read_values
from optimizer.control_plane.records import EntityDefinition
from optimizer.control_plane.runs import read_run
from optimizer.errors import ConfigError, RunStateError
from optimizer.runs.what_if import FrontierPoint, Proposal, WhatIf

SLIDERS = ("target_win_rate", "target_margin", "max_bid_cpm")
SWITCHES = ("exploration_mode", "aggressive_exploration")


class Control(BaseModel):
    """A setting of the form. minimum, maximum: of the slider, None for a switch. own: the client's value as text."""

    key: str
    title: str
    now: bool | float
    wished: bool | float
    minimum: float | None = None
    maximum: float | None = None
    own: str | None = None


class WhatIfAnswer(BaseModel):
    """An answer for one wish; notes: what to know before the figures."""

    entity_code: str
    live_run_id: str | None
    proposal: Proposal
    notes: tuple[str, ...]
    frontier: tuple[FrontierPoint, ...]
    controls: list[Control]


def ask_what_if(asked: Context, entity_code: str, wish: Values, *, run_id: str | None) -> WhatIfAnswer:
    """Return what the wish would bring; values that the run already has are left out.

    Raises:
        RunStateError: nothing is live, or the run has nothing to price from.
        ConfigError: a key needs training, or a value is out of bounds.
    """
    definition = read_definition(asked.systems.engine, entity_code)
    live_run_id = definition.entity.active_run_id
    wanted = run_id or live_run_id
    if wanted is None:
        raise RunStateError(f"{entity_code} has no live run; choose a completed run or a dry run of it")
    if run_id is not None and read_run(asked.systems.engine, run_id).entity_id != definition.entity.entity_id:
        raise HTTPException(404, f"{entity_code} has no run {run_id[:64]!r}")
    found = asked.what_ifs.find(
        wanted, live_run_id=live_run_id, engine=asked.systems.engine, store=asked.systems.store, now=asked.now
    )
    settings = found.settings_with({key: value for key, value in wish.items() if value is not None})
    changes = {key: value for key in wish if (value := getattr(settings, key)) != getattr(found.settings, key)}
    proposal = found.price(changes)
    return WhatIfAnswer(
        entity_code=entity_code,
        live_run_id=live_run_id,
        proposal=proposal,
        notes=proposal.notes,
        frontier=found.frontier(changes),
        controls=_controls(asked, definition, found, changes),
    )


def wish_of(fields: dict[str, str]) -> Values:
    """Return the settings of a form or an address; an empty field changes nothing."""
    return {key: fields[key].strip() for key in (*SLIDERS, *SWITCHES) if fields.get(key, "").strip()}


def _controls(asked: Context, definition: EntityDefinition, found: WhatIf, changes: dict[str, Any]) -> list[Control]:
    own = read_values(asked.systems.engine, definition.entity.entity_code)
    specs = {key.config_key: key for key in definition.config_keys}
    known = [key for key in (*SLIDERS, *SWITCHES) if key in specs]
    if not known:
        raise ConfigError(f"entity {definition.entity.entity_code}: its version has no setting that can be tried")
    return [
        Control(
            key=key,
            title=specs[key].display_name,
            now=getattr(found.settings, key),
            wished=changes.get(key, getattr(found.settings, key)),
            minimum=_number(specs[key].min_value) if key in SLIDERS else None,
            maximum=_number(specs[key].max_value) if key in SLIDERS else None,
            own=own[key].config_value if key in own else None,
        )
        for key in known
    ]


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
