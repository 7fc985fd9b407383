"""One line of the benchmark: what was measured, what it is held against and how many times that it may take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import process_time


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured amount and its yardstick, in the same unit and of the same run.

    bound: the largest ratio of the two that is allowed; None where the line only informs.
    """

    what: str
    measured: float
    yardstick: float
    against: str
    unit: str
    bound: float | None = None

    @property
    def ratio(self) -> float:
        return self.measured / self.yardstick

    @property
    def is_kept(self) -> bool:
        return self.bound is None or self.ratio <= self.bound


def best_seconds(actions: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Return the least processor time of each action, all its threads together, in seconds.

    Processor time does not count the time that others have the processor. What they still take, its caches, slows all
    actions alike because they take turns, and the least of several tries was disturbed least: their ratio holds on a
    busy machine, where their times do not.
    """
    best = dict.fromkeys(actions, float("inf"))
    for _ in range(repeats):
        for name, action in actions.items():
            started = process_time()
            action()
            best[name] = min(best[name], process_time() - started)
    return best
