"""docker-compose.yaml as Compose reads it, every secret a dummy, and the command that makes real ones."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
COMPOSE = PROJECT / "docker-compose.yaml"
ENV_EXAMPLE = PROJECT / ".env.example"
PRODUCTION = PROJECT / "docs" / "production.md"
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<word>[^}]*))?\}")


def substitute(text: str, values: dict[str, str]) -> str:
    """Return the text as Compose reads it."""
    return VARIABLE.sub(lambda it: values.get(it["name"], it["word"]), text).replace("$$", "$")


def variables(kind: str) -> dict[str, str]:
    return {it["name"]: it["word"] for it in VARIABLE.finditer(COMPOSE.read_text()) if it["kind"] == kind}


def documented(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PRODUCTION.read_text(), re.MULTILINE | re.DOTALL)


def make_secrets(folder: Path) -> dict[str, str]:
    """Run the command of .env.example in the folder, and return the secrets that its .env has."""
    (folder / ".env.example").write_text(ENV_EXAMPLE.read_text())
    (command,) = re.findall(r"^#\s+(python3 -c .*)$", ENV_EXAMPLE.read_text(), re.MULTILINE)
    command = command.replace("python3", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, cwd=folder, check=True)  # noqa: S602 - our own file's command
    return dict(re.findall(r"^(\w+)=(.+)$", (folder / ".env").read_text(), re.MULTILINE))


VALUES = {name: f"dummy-{name.lower()}" for name in variables("?")}
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(substitute(COMPOSE.read_text(), VALUES))["services"]
WORKER = SERVICES["airflow-worker"]["environment"]

ONE_SHOT = {"airflow-init", "optimizer-init", "demo-log", "optimizer"}
"""The services that end by themselves; all others are lasting."""
