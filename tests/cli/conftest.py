"""A filled control plane that the command line looks into."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from control_plane.catalog import NOW, complete_sample, fill_catalog, open_sample
from control_plane.databases import new_control_plane
from servers.embedded import closed_port, systems
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.cli.control_plane import URL_VARIABLE
from optimizer.cli.main import app
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.runs import fail_run

__all__ = ["systems"]

Command = Callable[..., Result]

NO_S3 = {
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed_port()}",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}
"""A command finds no object store, at once, where the test's environment names none."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/control_plane.db"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Return an engine on drugs_hcp with a deployed, an undeployed and a failed run, and drugs_com with none."""
    return new_control_plane(tmp_path / "control_plane.db", _fill)


def _fill(engine: Engine) -> None:
    fill_catalog(engine)
    run_id = complete_sample(engine, "first")
    complete_sample(engine, "second", validation_status="failed", now=NOW.replace(hour=16))
    third = open_sample(engine, "third", now=NOW.replace(hour=17))
    fail_run(engine, third.run_id, message="extract: the warehouse denied the login", now=NOW)
    deploy(engine, entity_code="drugs_hcp", split={run_id: 100}, author=Author("test"), now=NOW)


@pytest.fixture
def optimizer(engine: Engine, url: str) -> Command:
    """Return what runs `optimizer …` on the filled control plane."""
    return lambda *arguments: run(*arguments, url=url)


@pytest.fixture
def optimizer_json(optimizer: Command) -> Callable[..., Any]:
    """Return what runs `optimizer … --json` and parses all that it printed."""

    def parse(*arguments: str) -> Any:
        result = optimizer(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return parse


@pytest.fixture
def store(systems: LocalStack, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Return the session's objects, which the command finds as boto3 finds any: in the environment.

    bucket: a fixture of the test's module with the name of its bucket.
    """
    settings = systems.settings
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{settings.objects_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", settings.objects_access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings.objects_secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    systems.ensure_bucket(bucket)
    client = systems.connect_objects()
    yield ObjectStore(client)
    client.close()


def run(*arguments: str, url: str | None = None, home: Path | None = None) -> Result:
    """Run the command with this control plane and home of the stack, and nothing else from the environment."""
    variables = {URL_VARIABLE: url, "OPTIMIZER_HOME": None if home is None else str(home), "COLUMNS": "200"}
    return CliRunner().invoke(app, list(arguments), env={**NO_S3, **os.environ, **variables})
