"""What a run is grouped, paired or measured by: a place in one of its JSON columns, such as config.model.depth, or a
part of its name."""

import json
import re
from dataclasses import dataclass

from optimization_tracking.models.values import check_text

_STEP = re.compile(r'"(?:[^"\\]|\\.)*"|[^."]+')
COLUMNS = {"config": "config", "metadata": "metadata", "evaluationResults": "evaluation_results"}
"""The JSON columns, by their names in the API."""

MAX_STEPS = 32

_SIGNS = re.compile(r"[!-/:-@\[-`{-~]")


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A value inside a JSON column of a run."""

    column: str
    steps: tuple[str, ...]


def parse_path(text: str) -> JsonPath:
    """Return the place that a text names: the column, a dot, and its keys with dots between; keys may be quoted.

    Raises:
        ValueError: it names none.
    """
    name, dot, rest = text.partition(".")
    if name not in COLUMNS or not dot:
        raise ValueError(f"begins with none of {', '.join(f'{column}.' for column in COLUMNS)}")
    steps, end = [], 0
    while (found := _STEP.match(rest, end)) is not None:
        steps.append(_key(found.group()))
        end = found.end() + 1
        if found.end() == len(rest):
            break
        if rest[found.end()] != ".":
            raise ValueError("has no dot between two keys")
    if end <= len(rest) or not steps or len(steps) > MAX_STEPS:
        raise ValueError("has an empty key, or too many; a key that holds a dot is written in quotes")
    return JsonPath(COLUMNS[name], tuple(steps))


def _key(step: str) -> str:
    if not step.startswith('"'):
        return step
    try:
        return check_text(str(json.loads(step)))
    except json.JSONDecodeError:
        raise ValueError("has quotes around what is not a JSON text") from None


def name_pattern(text: str) -> str:
    """Return the regular expression of a pattern of names: {} is the part that names the group, * is anything.

    Raises:
        ValueError: it has not exactly one {}.
    """
    if text.count("{}") != 1:
        raise ValueError("needs exactly one {}: the part of the name that is the group")
    parts = re.split(r"(\{\}|\*)", re.sub(r"\*+", "*", text))
    return "^" + "".join({"{}": "(.+?)", "*": ".*?"}.get(part) or _literal(part) for part in parts) + "$"


def _literal(text: str) -> str:
    """Return a regular expression of Postgres for a text as it stands."""
    return _SIGNS.sub(r"\\\g<0>", text)
