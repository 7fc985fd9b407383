"""The command that shows how an entity's live runs do, as the monitor measured it."""

from typing import Any

from rich.text import Text
from sqlalchemy import Engine

from optimizer.cli.control_plane import connect
from optimizer.cli.inspect import AsJson, EntityCode
from optimizer.control_plane import deployments, entities, registry, runs
from optimizer.control_plane.records import Deployment
from optimizer.core.live.performance import FIGURES, LIVE, VERDICT_NUMBERS, say, say_difference
from optimizer.presentation.terminal import console, print_json, print_table

_VERDICTS: dict[float | None, str] = {number: verdict for verdict, number in VERDICT_NUMBERS.items()}


def live(entity: EntityCode, as_json: AsJson = False) -> None:
    """Show an entity's live runs beside their forecast and the control in the split."""
    engine = connect()
    entities.require_entity(engine, entity)
    active = deployments.read_active(engine, entity)
    measured = {row.run_id: _read(engine, row) for row in active}
    outcomes = {row.run_id: runs.read_run(engine, row.run_id).outcome for row in active}
    if as_json:
        return print_json(measured)
    if not active:
        return console.print(Text(f"Nothing of {entity} is live."))
    for row in active:
        _print_run(row, measured[row.run_id], outcomes[row.run_id])


def _read(engine: Engine, row: Deployment) -> dict[str, float | None]:
    metrics = registry.read_metrics(engine, row.run_id)
    return {metric.metric_key: metric.metric_value for metric in metrics if metric.metric_section == LIVE}


def _print_run(row: Deployment, metrics: dict[str, float | None], outcome: str | None) -> None:
    if not metrics:
        console.print(Text(f"Run {row.run_id} ({row.traffic_pct} %) was not measured yet; the DAG `monitor` does so."))
        return
    last_day = metrics.get("last_day")
    until = "" if last_day is None else f", the last {last_day:.0f}"
    bids, wins, clicks = (f"{metrics[name] or 0:,.0f} {name}" for name in ("bids", "wins", "clicks"))
    title = f"Run {row.run_id}, {row.traffic_pct} % of the traffic: {metrics['days']:.0f} days{until}"
    print_table(
        f"{title}; {bids}, {wins}, {clicks}; validation {outcome}",
        ["figure", "live", "95 % interval", "forecast", "verdict", "control", "difference", "beside control"],
        (_line(figure, metrics) for figure in FIGURES),
    )


def _line(figure: str, metrics: dict[str, float | None]) -> list[Any]:
    value, low, high = (metrics.get(f"{figure}{end}") for end in ("", "_low", "_high"))
    return [
        figure,
        say(figure, value),
        None if low is None else f"{say(figure, low)} to {say(figure, high)}",
        say(figure, metrics.get(f"{figure}_forecast")),
        _VERDICTS.get(metrics.get(f"{figure}_verdict")),
        say(figure, metrics.get(f"{figure}_control")),
        say_difference(figure, metrics.get(f"{figure}_difference")),
        _VERDICTS.get(metrics.get(f"{figure}_control_verdict")),
    ]
