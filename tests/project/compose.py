"""docker-compose.yaml as Compose reads it, every secret a dummy."""

import re
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
COMPOSE = PROJECT / "docker-compose.yaml"
PRODUCTION = PROJECT / "docs" / "production.md"
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<word>[^}]*))?\}")


def substitute(text: str, values: dict[str, str]) -> str:
    """Return the text as Compose reads it."""
    return VARIABLE.sub(lambda it: values.get(it["name"], it["word"]), text).replace("$$", "$")


def variables(kind: str) -> dict[str, str]:
    return {it["name"]: it["word"] for it in VARIABLE.finditer(COMPOSE.read_text()) if it["kind"] == kind}


def documented(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PRODUCTION.read_text(), re.MULTILINE | re.DOTALL)


VALUES = {name: f"dummy-{name.lower()}" for name in variables("?")}
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(substitute(COMPOSE.read_text(), VALUES))["services"]
WORKER = SERVICES["airflow-worker"]["environment"]
