"""What a trader's pages are compared with: the command line on the same control plane and objects."""

import json
from typing import Any

from console.conftest import Business
from typer.testing import CliRunner

from lab.stack import LocalStack
from optimizer.cli.control_plane import URL_VARIABLE
from optimizer.cli.main import app


def ask(business: Business, stack: LocalStack, *arguments: str) -> Any:
    """Return what `optimizer … --json` prints."""
    settings = stack.settings
    variables = {
        URL_VARIABLE: f"sqlite:///{business.systems.engine.url.database}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{settings.objects_port}",
        "AWS_ACCESS_KEY_ID": settings.objects_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.objects_secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    result = CliRunner().invoke(app, [*arguments, "--json"], env=variables)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)
