"""The command that shows where every entity is, in one word, and what is live."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from optimizer.cli.control_plane import connect
from optimizer.cli.options import AsJson
from optimizer.core.live.readiness import Readiness
from optimizer.deployment.readiness import EntityStatus, read_statuses
from optimizer.presentation.formats import percent
from optimizer.presentation.terminal import console, print_json, print_table

COLUMNS = ["entity", "readiness", "live", "target", "forecast", "live win rate", "canary step", "pinned", "alerts"]


def status(
    entity: Annotated[str | None, typer.Argument(metavar="[ENTITY]", help="Only this entity.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show each entity's readiness, its live split, and win rates: target, forecast and live."""
    found = read_statuses(connect(), now=datetime.now(UTC), entity_code=entity)
    if as_json:
        return print_json([document(row) for row in found])
    print_table(f"Status of {entity}" if entity else "Status", COLUMNS, (_cells(row) for row in found))
    for row in found:
        console.print(Text(f"{row.entity_code}: {row.readiness.sentence}."))
        if row.control_notice is not None:
            console.print(Text(f"Note: {row.control_notice}."))


def document(row: EntityStatus) -> dict[str, Any]:
    """Return the status as JSON; `readiness` is the word."""
    readiness = row.readiness
    return {
        **asdict(row),
        "readiness": readiness.word,
        "readiness_code": readiness.code,
        "since": readiness.since,
        "until": readiness.until,
        "limits": dict(readiness.limits),
        "sentence": readiness.sentence,
    }


def _cells(row: EntityStatus) -> list[Any]:
    return [
        row.entity_code,
        _readiness(row.readiness),
        ", ".join(f"{live.run_id} {live.traffic_pct}% {live.role}" for live in row.live) or None,
        *(
            None if rate is None else percent(rate)
            for rate in (row.target_win_rate, row.forecast_win_rate, row.live_win_rate)
        ),
        row.canary_step,
        "yes" if row.is_pinned else "no",
        row.open_alerts,
    ]


def _readiness(readiness: Readiness) -> str:
    share = readiness.limits.get(readiness.word)
    return readiness.word if share is None else f"{readiness.word} ({percent(share)})"
