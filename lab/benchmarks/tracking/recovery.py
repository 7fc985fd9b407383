"""How soon the service works again once its Postgres does, after an outage."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lab.benchmarks.tracking.lines import BenchmarkLine
from lab.benchmarks.tracking.service import Service
from optimizer.errors import OptimizerError

MAX_RECOVERY_S = 2
TIMEOUT_S = 120
POLL_S = 0.02


def measure_recovery(service: Service, *, outage_s: float) -> list[BenchmarkLine]:
    """Return how long after Postgres the service answers, if it was away for that long; clients ask all the time."""
    client = service.client()
    service.stack.stop("tracking")
    with ThreadPoolExecutor(2) as threads:
        answered = threads.submit(_first_success, lambda: client.get("/runs?limit=1"), after_s=time.monotonic())
        time.sleep(outage_s)
        back = threads.submit(_first_success, lambda: service.connect().close(), after_s=time.monotonic())
        service.stack.start("tracking")
        late_s = max(0.0, answered.result() - back.result())
    return [BenchmarkLine(f"service after Postgres, which was away for {outage_s:g} s", late_s, "s", MAX_RECOVERY_S)]


def _first_success(ask: Callable[[], object], *, after_s: float) -> float:
    """Return when `ask` raised no error, on the monotonic clock."""
    while True:
        try:
            ask()
            return time.monotonic()
        except OptimizerError:
            if time.monotonic() > after_s + TIMEOUT_S:
                raise
            time.sleep(POLL_S)
