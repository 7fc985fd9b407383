"""One line of the tracking benchmark: what was measured, what it must keep and what it is to reach."""

from dataclasses import dataclass

AT_LEAST = ("/s", "times as fast")
"""Units of which more is better; of the others less is."""


@dataclass(frozen=True, slots=True)
class BenchmarkLine:
    """A measured amount.

    floor: missing it ends the benchmark with status 1. goal: the wanted figure; missing it is only reported.
    """

    what: str
    measured: float
    unit: str
    floor: float | None = None
    goal: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the floor is kept; without one it is."""
        return self.floor is None or self._meets(self.floor)

    @property
    def is_reached(self) -> bool:
        """Whether the goal is reached; without one it is."""
        return self.goal is None or self._meets(self.goal)

    def _meets(self, bound: float) -> bool:
        return self.measured >= bound if self.unit in AT_LEAST else self.measured <= bound
