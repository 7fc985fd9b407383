"""What a test waits for, and never longer than a minute or the time that it gives."""

import time
from collections.abc import Callable

PATIENCE_S = 60


def wait_until(
    condition: Callable[[], bool], what: str, *, timeout_s: float = PATIENCE_S, every_s: float = 0.05
) -> None:
    """Wait until the condition holds.

    Raises:
        AssertionError: it does not; `what` says what did not happen.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(every_s)
