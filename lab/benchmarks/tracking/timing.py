"""Rates and latencies: how often an action succeeds in a time, and how long each takes."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

Action = Callable[[int], object]
"""Called with 0, 1, 2, …; does one thing, and raises where that fails."""


@dataclass(frozen=True, slots=True)
class Timing:
    """This many actions a second, and how long one took, in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float


def measure_rate(make_action: Callable[[int], Action], *, clients: int, seconds: float) -> Timing:
    """Return how clients at once fare.

    Each gets an action of its own from its number, begins with the others, and repeats it for so long, once at least.
    """
    actions = [make_action(client) for client in range(clients)]
    taken_ms: list[list[float]] = [[] for _ in actions]
    failures: list[Exception] = []
    start = threading.Barrier(clients)

    def work(client: int) -> None:
        start.wait()
        number, begun = 0, perf_counter()
        try:
            while number == 0 or perf_counter() - begun < seconds:
                before = perf_counter()
                actions[client](number)
                taken_ms[client].append((perf_counter() - before) * 1000)
                number += 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[client]) for client in range(clients)]
    begun = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return _timing([each for client in taken_ms for each in client], wall_s=perf_counter() - begun)


def measure_latency(action: Action, *, repeats: int) -> Timing:
    """Return how long an action takes, after one that does not count."""
    action(0)
    taken_ms, begun = [], perf_counter()
    for number in range(1, repeats + 1):
        before = perf_counter()
        action(number)
        taken_ms.append((perf_counter() - before) * 1000)
    return _timing(taken_ms, wall_s=perf_counter() - begun)


def _timing(taken_ms: list[float], *, wall_s: float) -> Timing:
    ordered = sorted(taken_ms)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    return Timing(len(ordered) / wall_s, p50, p99)
