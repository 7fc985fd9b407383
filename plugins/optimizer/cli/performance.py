"""The command that shows how an entity's live runs do, as the monitor measured it."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from optimizer.cli.control_plane import connect
from optimizer.cli.options import AsJson, EntityCode
from optimizer.control_plane import alerts, canaries, deployment_history, entities, live_records, runs
from optimizer.control_plane.live_rows import LiveDay, LiveVerdict
from optimizer.control_plane.records import Deployment
from optimizer.core.live.click_views import arrival_sentence
from optimizer.core.live.performance import say, say_difference
from optimizer.deployment.canary_state import canary_sentence
from optimizer.deployment.live_policy import savings_line
from optimizer.presentation.formats import count_days
from optimizer.presentation.terminal import console, print_json, print_table


def live(entity: EntityCode, as_json: AsJson = False) -> None:
    """Show an entity's live runs next to their forecast and the other run of the split, and what is wrong."""
    engine = connect()
    entities.require_entity(engine, entity)
    active, tried = deployment_history.read_active(engine, entity), canaries.read_open(engine, entity)
    verdicts, days = live_records.read_verdicts(engine, entity), live_records.read_days(engine, entity)
    incidents, savings = alerts.read_open(engine, entity), live_records.read_savings(engine, entity)
    if as_json:
        return print_json(
            {
                "active": [row.model_dump() for row in active],
                "canary": None if tried is None else tried.model_dump(),
                "verdicts": [row.model_dump() for row in verdicts],
                "days": [row.model_dump() for row in days],
                "savings": [row.model_dump() for row in savings],
                "alerts": [row.model_dump() for row in incidents],
            }
        )
    if not active:
        return console.print(Text(f"Nothing of {entity} is live; `optimizer deploy {entity} RUN=100` deploys a run."))
    outcomes = {row.run_id: runs.read_run(engine, row.run_id).outcome for row in active}
    for row in active:
        _print_run(row, [found for found in verdicts if found.run_id == row.run_id], days, outcomes[row.run_id])
    _print_policy([found for found in verdicts if found.run_id is None])
    if (arrival := arrival_sentence({day.day: day.click_maturity for day in days})) is not None:
        console.print(Text(arrival))
    for period in savings:
        console.print(Text(savings_line(period)))
    if tried is not None:
        console.print(Text(canary_sentence(tried, verdicts=verdicts, incidents=incidents)))
    for incident in incidents:
        console.print(Text(f"Alert since {incident.opened_at:%Y-%m-%d %H:%M} UTC: {incident.message}"))


def _print_run(row: Deployment, verdicts: Sequence[LiveVerdict], days: Sequence[LiveDay], outcome: str | None) -> None:
    head = f"Run {row.run_id}, {row.traffic_pct} % of the traffic"
    if not verdicts:
        return console.print(Text(f"{head}, was not measured yet; the DAG `monitor` does so."))
    first, last = verdicts[0].first_day, verdicts[0].last_day
    own = [day for day in days if day.run_id == row.run_id and first and last and first <= day.day <= last]
    sums = ", ".join(f"{sum(getattr(day, name) for day in own):,.0f} {name}" for name in ("bids", "wins", "clicks"))
    until = "" if last is None else f" to {last:%Y-%m-%d}"
    of_split = {found.figure: found for found in verdicts if found.compared_with == "split"}
    print_table(
        f"{head}: {count_days(verdicts[0].days)}{until}; {sums}; validation {outcome}",
        ["figure", "live", "95 % interval", "forecast", "verdict", "other run", "difference", "against it"],
        (_line(found, of_split.get(found.figure)) for found in verdicts if found.compared_with == "forecast"),
    )


def _print_policy(verdicts: Sequence[LiveVerdict]) -> None:
    """The runs one after the other, as one policy."""
    if not verdicts:
        return
    first, last = verdicts[0].first_day, verdicts[0].last_day
    span = "" if first is None or last is None else f", {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    of_control = {found.figure: found for found in verdicts if found.compared_with == "control"}
    print_table(
        f"All runs but the control, as one policy: {count_days(verdicts[0].days)}{span}",
        ["figure", "live", "95 % interval", "forecast", "verdict", "control", "difference", "against it"],
        (_line(found, of_control.get(found.figure)) for found in verdicts if found.compared_with == "forecast"),
    )


def _line(found: LiveVerdict, beside: LiveVerdict | None) -> list[Any]:
    figure = found.figure
    return [
        figure,
        say(figure, found.live),
        None if found.live_low is None else f"{say(figure, found.live_low)} to {say(figure, found.live_high)}",
        say(figure, found.expected),
        found.verdict,
        say(figure, None if beside is None else beside.control),
        say_difference(figure, None if beside is None else beside.difference),
        None if beside is None else beside.verdict,
    ]
