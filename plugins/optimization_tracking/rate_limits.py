"""How fast a key may ask: a token bucket a key, in this process.

A service of several processes allows each of them the whole rate.
"""

import math
import time
from collections.abc import Callable
from uuid import UUID

from optimization_tracking.problem_details import Refusal

MAX_BUCKETS = 10_000


class RateLimits:
    """Buckets that refill with a key's rate and hold one second of it."""

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._buckets: dict[UUID, tuple[float, float]] = {}

    def take(self, key_id: UUID, *, rate_per_s: int) -> None:
        """Count one request.

        Raises:
            Refusal: 429, with the seconds to wait.
        """
        now_s = self._now_s()
        tokens, seen_s = self._buckets.pop(key_id, (float(rate_per_s), now_s))
        tokens = min(rate_per_s, tokens + (now_s - seen_s) * rate_per_s)
        # Put back at the end: the dictionary's beginning holds those that asked least recently.
        self._buckets[key_id] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        if len(self._buckets) > MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        if tokens < 1:
            wait_s = math.ceil((1 - tokens) / rate_per_s)
            raise Refusal(
                429, f"the key may ask {rate_per_s} times a second; wait", headers={"Retry-After": str(wait_s)}
            )
