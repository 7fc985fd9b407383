"""The form of a split, as the page sends it."""

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "pct."
"""What the name of a percent's field begins with, before the run_id."""


@dataclass(frozen=True, slots=True)
class SplitForm:
    """What a user entered.

    fields: {run_id: text}, without empty fields. split: {run_id: percent} of those that are whole numbers above 0.
    unread: what is not a whole number, one sentence each.
    """

    fields: dict[str, str]
    split: dict[str, int]
    unread: tuple[str, ...]
    is_pinned: bool
    no_control: bool


def read_split_form(fields: Mapping[str, str]) -> SplitForm:
    """Return the split of a form's fields; a field that is empty or 0 gives its run nothing."""
    texts = {
        name.removeprefix(PREFIX): text.strip()
        for name, text in fields.items()
        if name.startswith(PREFIX) and text.strip()
    }
    numbers = {run_id: int(text) for run_id, text in texts.items() if _is_percent(text)}
    wrong = (f"run {run_id} has {text[:20]!r} percent" for run_id, text in texts.items() if not _is_percent(text))
    return SplitForm(
        fields=texts,
        split={run_id: pct for run_id, pct in numbers.items() if pct > 0},
        unread=tuple(f"{what}; give it a whole number from 0 to 100" for what in wrong),
        is_pinned=fields.get("pin") == "yes",
        no_control=fields.get("no_control") == "yes",
    )


def whole_numbers(text: str) -> list[int]:
    """Return the whole numbers of a text with commas between; what is none is left out."""
    return [int(part) for part in text.split(",") if part.strip().isdecimal() and len(part) <= 18]


def _is_percent(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3
