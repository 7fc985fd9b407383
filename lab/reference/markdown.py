"""Markdown that the reference pages share."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; `|`, `<` and line ends in a cell are escaped."""
    lines = [columns, ["---"] * len(columns), *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: str | None) -> str:
    """Return inline code, or nothing for no text."""
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    # Outside code, which every second part is, a < would begin a tag.
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))
