"""A figure with its interval, as every forecast and every measured figure has one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the ends of its 95 % interval; None where there is nothing to estimate it from."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
