"""The command that prices a run with other settings."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy import Engine

from optimizer.cli.control_plane import connect
from optimizer.cli.objects import open_store
from optimizer.cli.options import AsJson, EntityCode
from optimizer.control_plane import entities, runs
from optimizer.core.records.estimate import Estimate
from optimizer.errors import ConfigError, RunStateError
from optimizer.presentation.formats import amount, change, percent, signed_amount
from optimizer.presentation.terminal import console, print_json, print_table
from optimizer.reporting.tables import REASONS
from optimizer.runs.what_if import CHANGEABLE, FrontierPoint, Proposal, load_what_if

Wish = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help=f"Settings to try: {', '.join(CHANGEABLE)}."),
]
OtherRun = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="A completed run or dry run instead of the live run.")
]

FIGURES = {
    "win rate": ("win_rate", percent),
    "CPM": ("cpm", amount),
    "spend a day": ("spend_per_day", amount),
    "margin": ("margin", percent),
    "shadow price": ("shadow_price", amount),
}
"""Row of the table: field of `Figures`, and how it is written."""

LIMIT_NAMES = {
    "cap": "at max_bid_cpm",
    "floor": "at or below a floor",
    "margin": "at target_margin",
    "evidence": "no evidence for more",
    "step": "at the daily step",
}
"""Words for each limit of `optimizer.runs.limit_intervals.LIMITS`."""


def what_if(entity: EntityCode, wish: Wish = None, run: OtherRun = None, as_json: AsJson = False) -> None:
    """Show what other settings would bring, without training: now against proposed, with 95 % intervals."""
    values = _parse(wish or ())
    engine = connect()
    run_id = _find_run(engine, entity, run)
    with open_store() as store:
        found = load_what_if(run_id, engine=engine, store=store, now=datetime.now(UTC))
    proposal, frontier = found.price(values), found.frontier(values)
    if as_json:
        document = {"entity": entity, **asdict(proposal), "notes": proposal.notes}
        return print_json({**document, "frontier": [asdict(point) for point in frontier]})
    _print(entity, proposal, frontier)


def _parse(wish: Sequence[str]) -> dict[str, str]:
    """The values of the wish by key."""
    if wrong := [part for part in wish if not all(part.partition("="))]:
        raise ConfigError(f"{wrong[0]!r} is not a setting; write KEY=VALUE, for example target_win_rate=0.35")
    return {key: value for key, _, value in (part.partition("=") for part in wish)}


def _find_run(engine: Engine, entity_code: str, run_id: str | None) -> str:
    entity = entities.read_definition(engine, entity_code).entity
    if run_id is None:
        if entity.active_run_id is None:
            raise RunStateError(
                f"entity {entity_code} has no live run; choose a completed run or dry run with --run "
                f"(`optimizer runs {entity_code}` lists them)"
            )
        return entity.active_run_id
    if runs.read_run(engine, run_id).entity_id != entity.entity_id:
        raise RunStateError(
            f"run {run_id} is not a run of {entity_code}; `optimizer runs {entity_code}` lists its runs"
        )
    return run_id


def _estimate(estimate: Estimate, write: Callable[[float | None], str]) -> str:
    if estimate.low is None or estimate.high is None:
        return write(estimate.value)
    return f"{write(estimate.value)} ({write(estimate.low)} to {write(estimate.high)})"


def _print(entity: str, proposal: Proposal, frontier: Sequence[FrontierPoint]) -> None:
    wish = " ".join(f"{key}={value}" for key, value in proposal.wish.items()) or "no change"
    columns = (proposal.now, proposal.proposed, proposal.settled)
    print_table(
        f"What if {entity} had {wish} (run {proposal.run_id}; 95 % intervals)",
        ["next days", "now", "proposed", "after daily steps"],
        [
            *(
                [name, *(_estimate(getattr(one, field), write) for one in columns)]
                for name, (field, write) in FIGURES.items()
            ),
            *(
                [f"bids {words}", *(_estimate(one.limits[name], percent) for one in columns)]
                for name, words in LIMIT_NAMES.items()
            ),
        ],
    )
    for note in proposal.notes:
        console.print(Text(note[0].upper() + note[1:] + "."))
    print_table(
        "Target against price, after daily steps",
        ["target", "win rate", "CPM"],
        ([percent(point.target_win_rate), percent(point.win_rate), amount(point.cpm)] for point in frontier),
    )
    if not proposal.moves:
        return console.print("No bid changes.")
    print_table(
        f"The {len(proposal.moves)} largest of {proposal.moved_segments:,} changed bids, by spend",
        ["segment", "now", "proposed", "change", "cause", "requests a day", "spend a day"],
        (
            [
                move.segment_key,
                amount(move.now_cpm),
                amount(move.proposed_cpm),
                change(move.change),
                REASONS[move.cause],
                round(move.requests),
                signed_amount(move.spend_change),
            ]
            for move in proposal.moves
        ),
    )
