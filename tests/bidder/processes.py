"""Bidders as processes of their own."""

import subprocess
import time

import httpx
from bidder.market import ENTITY, Market

from lab.stack import LocalStack
from lab.stack.environment import objects_variables

START_TIMEOUT_S = 60


def environment_of(market: Market, systems: LocalStack) -> dict[str, str]:
    """Return the variables of a bidder of the market; the object store's are boto3's own."""
    return {
        "OPTIMIZER_CONTROL_PLANE_URL": str(market.engine.url),
        "OPTIMIZER_BIDDER_ENTITIES": ENTITY,
        **objects_variables(systems.settings),
        "NO_PROXY": "127.0.0.1",
        "COLUMNS": "120",
    }


def wait_until_ready(client: httpx.Client, process: subprocess.Popen, *, path: str = "/ready") -> None:
    """Wait until the process answers the path with 200."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "the bidder is not ready"
        try:
            if client.get(path).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
