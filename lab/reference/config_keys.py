"""The page of the config keys, from `RunSettings`."""

from lab.reference.markdown import code, table
from optimizer.core.config.merge import ConfigKey
from optimizer.core.config.settings import CONFIG_VERSION, config_catalogue

_INTRODUCTION = f"""\
# Config keys

The keys of version `{CONFIG_VERSION}`. A run merges three sources, and the last one that has a value wins:

1. the version's default, in `opt_version_configs`
2. the entity's value, in `opt_entity_configs`
3. the run's own value, in `opt_run_configs` or from Airflow's trigger form

`optimizer config ENTITY` prints the effective values and their sources.

*Form* says whether the key is on Airflow's trigger form. Money is CPM in the account's currency. Bounds are inclusive.
"""

_SECTIONS = {
    "business": "What the client wants, and how a run goes live.",
    "technical": "How a run learns, what it may change, and when validation fails.",
    "static": "Facts about the SSP. They change only when its contract does.",
}


def config_keys_page() -> str:
    """Return the page."""
    keys = config_catalogue()
    parts = [_INTRODUCTION]
    for section, text in _SECTIONS.items():
        rows = [_row(key) for key in keys if key.config_section == section]
        parts.append(f"## {section.capitalize()}\n\n{text}\n\n{_key_table(rows)}")
    return "\n".join(parts)


def _key_table(rows: list[list[str]]) -> str:
    return table(["Key", "Type", "Default", "Allowed", "Form", "Meaning"], rows)


def _row(key: ConfigKey) -> list[str]:
    return [
        code(key.config_key),
        key.data_type,
        code(key.default_value) or "none",
        _allowed(key),
        "yes" if key.is_ui_visible else "no",
        f"**{key.display_name}.** {key.description}",
    ]


def _allowed(key: ConfigKey) -> str:
    if key.allowed_values:
        return ", ".join(code(value) for value in key.allowed_values)
    if key.min_value is None and key.max_value is None:
        return "`true`, `false`" if key.data_type == "bool" else "any"
    return f"{key.min_value} to {key.max_value}"
