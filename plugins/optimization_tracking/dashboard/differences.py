"""Several runs' configs, row by row, as the pages write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optimization_tracking.dashboard.formatting import json_text
from optimization_tracking.differences import compare_objects


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One key of several configs; a config that lacks it has None."""

    key: str
    values: tuple[str | None, ...]
    differs: bool


def compare_configs(configs: Sequence[dict[str, Any]]) -> list[ConfigRow]:
    """Return every key of the configs in the order of its first appearance."""
    return [
        ConfigRow(
            found.key,
            tuple(
                json_text(value) if is_set else None for value, is_set in zip(found.values, found.is_set, strict=True)
            ),
            found.differs,
        )
        for found in compare_objects(configs)
    ]
