"""Whether a form of config values was opened before the config that it shows was changed."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from optimizer.core.config.merge import ConfigKey, parse_value
from optimizer.errors import ConfigError

FORM_STAMP = "config_stamp"
"""Field of the trigger form that says which config it was made of."""


def config_stamp(keys: Iterable[ConfigKey], entity_values: Mapping[str, str]) -> str:
    """Return a short digest of the values that a form of these keys shows: it changes when one of them does."""
    shown = {key.config_key: entity_values.get(key.config_key, key.default_value) for key in keys if key.is_ui_visible}
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:12]


def check_form(
    stamp: str | None,
    values: Mapping[str, Any],
    *,
    keys: Iterable[ConfigKey],
    entity_values: Mapping[str, str],
    entity_code: str,
) -> None:
    """Pass where the form is of the present config, or all that it sends is what the config says now.

    A form sends every field, so a value of an old form that differs from the config may not have been chosen by anyone.

    Args:
        stamp: the form's; None: the values come from no form.

    Raises:
        ConfigError: names each value of the old form and what the config says now.
    """
    keys = list(keys)
    if stamp is None or stamp == config_stamp(keys, entity_values):
        return
    changed = [
        f"{key.config_key}: {values[key.config_key]!r} in the form, {present!r} now"
        for key in keys
        if key.config_key in values
        and (present := _parsed(key, entity_values.get(key.config_key, key.default_value)))
        != _parsed(key, values[key.config_key])
    ]
    if changed:
        raise ConfigError(
            f"entity {entity_code}: its config changed after the trigger form was opened ({'; '.join(changed)}); "
            "open the form again and start a new run"
        )


def _parsed(key: ConfigKey, raw: Any) -> Any:
    try:
        return None if raw is None else parse_value(key, raw)
    except ConfigError:  # the merge that follows names it
        return raw
