"""How often a silent service is asked again, and after how long."""

from typing import Any

from tenacity import RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from optimizer.errors import UnavailableError

ATTEMPTS = 4
LONGEST_WAIT_S = 30.0

_backoff = wait_random_exponential(multiplier=0.2, max=LONGEST_WAIT_S)


def wait_s(state: RetryCallState) -> float:
    """Return the seconds to wait: what the service asks for, or a random time that grows with each attempt."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, UnavailableError) else None
    return _backoff(state) if asked is None else min(asked, LONGEST_WAIT_S)


def policy(*, is_repeatable: bool, attempts: int = ATTEMPTS) -> dict[str, Any]:
    """Return tenacity's options for one call; a call that must not happen twice is tried once."""
    return {
        "retry": retry_if_exception(lambda error: isinstance(error, UnavailableError)),
        "wait": wait_s,
        "stop": stop_after_attempt(attempts if is_repeatable else 1),
        "reraise": True,
    }
