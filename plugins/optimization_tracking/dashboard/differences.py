"""Several runs' configs, row by row, as the pages write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optimization_tracking.dashboard.formatting import json_text
from optimization_tracking.differences import MAX_CELLS, KeyValues, compare_objects


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One key of several configs; a config that lacks it has None."""

    key: str
    values: tuple[str | None, ...]
    differs: bool


@dataclass(frozen=True, slots=True)
class ConfigTable:
    """Keys of several configs in the order of their first appearance. `left_out`: how many more there are."""

    rows: list[ConfigRow]
    left_out: int


def compare_configs(configs: Sequence[dict[str, Any]], *, max_cells: int = MAX_CELLS) -> ConfigTable:
    """Return the keys of the configs, every one unless they are very many."""
    compared = compare_objects(configs, max_cells=max_cells)
    return ConfigTable([_row(found) for found in compared.keys], compared.left_out)


def _row(found: KeyValues) -> ConfigRow:
    values = (json_text(value) if is_set else None for value, is_set in zip(found.values, found.is_set, strict=True))
    return ConfigRow(found.key, tuple(values), found.differs)
