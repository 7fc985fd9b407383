"""Read SQL files: plain scripts, and the printed statements by name."""

import re
from pathlib import Path

PRINTED = Path(__file__).parent / "printed"


def split_statements(script: str) -> list[str]:
    """Return the statements of a script whose comments hold no semicolon at the end of a line."""
    return [part for part in re.split(r";[^\S\n]*(?:--[^\n]*)?(?:\n|$)", script) if _has_sql(part)]


def read_printed(name: str) -> dict[str, str]:
    """Return {name: statement} of a file of printed statements, each as it is printed."""
    parts = re.split(r"^-- name: (\w+)\n", (PRINTED / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _has_sql(part: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in part.splitlines())
