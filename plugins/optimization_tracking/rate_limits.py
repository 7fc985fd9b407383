"""How fast one may ask, by token buckets in this process.

A service of several processes allows in each of them the whole rate.
"""

import math
import time
from collections.abc import Callable, Hashable

from optimization_tracking.problem_details import Refusal

MAX_BUCKETS = 10_000


class RateLimits:
    """Buckets that refill with a rate and hold one second of it, or `burst` tokens."""

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, name: Hashable, *, rate_per_s: int, burst: int | None = None, who: str) -> None:
        """Count one request.

        Raises:
            Refusal: 429, with the seconds to wait; `who` is what may not ask so often.
        """
        now_s, most = self._now_s(), burst or rate_per_s
        tokens, seen_s = self._buckets.pop(name, (float(most), now_s))
        tokens = min(most, tokens + (now_s - seen_s) * rate_per_s)
        # Put back at the end: the dictionary's beginning holds those that asked least recently.
        self._buckets[name] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        if len(self._buckets) > MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        if tokens < 1:
            wait_s = math.ceil((1 - tokens) / rate_per_s)
            raise Refusal(429, f"{who}; wait", headers={"Retry-After": str(wait_s)})

    def give_back(self, name: Hashable) -> None:
        """Take back one request that does not count."""
        if name in self._buckets:
            tokens, seen_s = self._buckets[name]
            self._buckets[name] = (tokens + 1, seen_s)
