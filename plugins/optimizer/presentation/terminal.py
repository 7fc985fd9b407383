"""Tables for people and JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optimizer.presentation.formats import visible

PIPE_WIDTH = 120
console = Console()
if not console.is_terminal:
    console = Console(width=PIPE_WIDTH)


def print_json(content: Any) -> None:
    """Print the content as JSON, nothing else."""
    print(json.dumps(content, indent=2, default=_plain))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under their columns; numbers to the right and never broken."""
    table = Table(title=_text(title), title_justify="left", title_style="bold", header_style="bold")
    body = [list(row) for row in rows]
    for index, column in enumerate(columns):
        values = [row[index] for row in body if row[index] is not None]
        is_number = bool(values) and all(isinstance(value, int | float) for value in values)
        table.add_column(
            _text(column), justify="right" if is_number else "left", overflow="fold", no_wrap=index == 0 or is_number
        )
    for row in body:
        table.add_row(*(_text(format_value(value)) for value in row))
    console.print(table)


def _text(text: str) -> Text:
    """Return a text as it is: square brackets are no markup, and escape codes do nothing."""
    return Text(visible(text))


def format_value(value: Any) -> str:
    """Return the value for display: grouped thousands, few decimals, UTC minutes, a dash for None."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            return str(value)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
