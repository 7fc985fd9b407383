"""The command that shows where an entity's impressions are lost, from the bid request to the click."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from optimizer.bidder.funnel import MOST_DAYS, Funnel, Stage, read_funnel
from optimizer.cli.control_plane import connect
from optimizer.cli.options import AsJson, EntityCode
from optimizer.control_plane import entities
from optimizer.presentation.formats import count, count_days, percent
from optimizer.presentation.terminal import console, print_json, print_table


def funnel(
    entity: EntityCode,
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="How many whole UTC days, up to yesterday.")] = 1,
    run: Annotated[str | None, typer.Option(help="Only impressions that this run priced.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how many impressions got from the bid request to the click, and what to do about each loss."""
    engine = connect()
    entities.require_entity(engine, entity)
    found = read_funnel(engine, entity, days=days, now=datetime.now(UTC), run_id=run)
    if as_json:
        return print_json(found.model_dump(mode="json"))
    what = f"{entity}, run {run}" if run else entity
    if found.is_counted:
        return _print(found, title=f"{what}, {found.first_day} to {found.last_day} (UTC)", run=run)
    days_looked_at = f"from {found.first_day} to {found.last_day}"
    console.print(
        Text(
            f"No bidder has counted impressions of {what} {days_looked_at}: check that a bidder runs and that its "
            "account may write opt_bidder_counts"
        )
    )


def _print(found: Funnel, *, title: str, run: str | None) -> None:
    columns = ["stage", "impressions", "of asked", "lost before it", "what to do"]
    print_table(title, columns, (row for stage in found.stages for row in _rows(stage)))
    for loss in found.without_segment:
        console.print(Text(f"Bids {loss.cause}: {count(loss.impressions)}. {loss.cure}"))
    whose = "all runs but the control" if run is None else f"run {run}"
    console.print(Text(f"Won and clicked: of {whose}, {count_days(found.measured_days)} measured."))


def _rows(stage: Stage) -> Iterator[list[str]]:
    """The stage beside its first loss; each other loss has a row of its own."""
    head = [stage.name, count(stage.impressions), "" if stage.share is None else percent(stage.share)]
    for loss in stage.losses or (None,):
        yield [*head, *(("", "") if loss is None else (f"{count(loss.impressions)} {loss.cause}", loss.cure))]
        head = ["", "", ""]
