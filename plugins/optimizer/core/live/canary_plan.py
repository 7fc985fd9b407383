"""The steps by which a run is tried: 5 % of the traffic for a day, 20 % for two, and so on."""

import re
from dataclasses import dataclass

from optimizer.errors import ConfigError

_STEP = re.compile(r"(\d{1,3})(?:@(\d{1,3})d)?")
EXAMPLE = "5@1d, 20@2d, 50@2d, 100"


@dataclass(frozen=True, slots=True)
class CanaryStep:
    """A share of the traffic in percent, and for how many days at least; None: until it is decided."""

    traffic_pct: int
    days: int | None


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """The steps in order, the shares rising. After the last one below 100 the run gets the whole traffic."""

    steps: tuple[CanaryStep, ...]

    def __str__(self) -> str:
        return ", ".join(
            f"{step.traffic_pct}" if step.days is None else f"{step.traffic_pct}@{step.days}d" for step in self.steps
        )


def read_plan(text: str) -> CanaryPlan:
    """Return the plan of a text such as `5@1d, 20@2d, 50@2d, 100`.

    A step is a whole percent and, after @, its days. The last step may be 100, which stands for the whole traffic; a
    plan that does not name it ends there, too.

    Raises:
        ConfigError: the text is not a plan; says which step is wrong and why.
    """
    steps = [_read_step(part.strip()) for part in text.split(",")]
    shares = [step.traffic_pct for step in steps]
    if shares != sorted(set(shares)):
        raise ConfigError(f"canary_plan={text!r}: the shares must rise from step to step; write for example {EXAMPLE}")
    if steps[-1].traffic_pct == 100:
        steps.pop()
    if not steps:
        raise ConfigError(f"canary_plan={text!r} has no step below 100 %; write for example {EXAMPLE}")
    return CanaryPlan(tuple(steps))


def plan_of(canary_plan: str | None, *, canary_traffic_pct: int) -> CanaryPlan:
    """Return the plan of a run's settings: one step without an end where it names no steps.

    Raises:
        ConfigError: the text is not a plan.
    """
    return CanaryPlan((CanaryStep(canary_traffic_pct, None),)) if not canary_plan else read_plan(canary_plan)


def _read_step(text: str) -> CanaryStep:
    found = _STEP.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= 100 or (found[2] is not None and int(found[2]) < 1):
        raise ConfigError(
            f"canary_plan: {text!r} is not a step; a step is a percent from 1 to 100 and its days: {EXAMPLE}"
        )
    return CanaryStep(int(found[1]), None if found[2] is None else int(found[2]))
