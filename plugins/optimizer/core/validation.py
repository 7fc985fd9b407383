"""Whether a run's bids may go live. A hard check that fails fails the run; a soft one warns."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One check with its figure and its limit, both in the figure's own unit."""

    name: str
    severity: Literal["hard", "soft"]
    figure: float
    relation: Literal["<=", ">="]
    limit: float
    next_step: str

    @property
    def is_passed(self) -> bool:
        """Whether the figure keeps the limit; a figure that is no number never does."""
        return self.figure <= self.limit if self.relation == "<=" else self.figure >= self.limit

    @property
    def message(self) -> str:
        verdict = "ok" if self.is_passed else "failed"
        text = f"{self.name}: {self.figure:.6g} {self.relation} {self.limit:.6g} {verdict}"
        return text if self.is_passed else f"{text}; {self.next_step}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of a run."""

    checks: tuple[Check, ...]

    @property
    def is_passed(self) -> bool:
        return all(check.is_passed for check in self.checks if check.severity == "hard")

    @property
    def failures(self) -> list[str]:
        """Messages of the hard checks that failed."""
        return [check.message for check in self.checks if check.severity == "hard" and not check.is_passed]

    @property
    def warnings(self) -> list[str]:
        """Messages of the soft checks that failed."""
        return [check.message for check in self.checks if check.severity == "soft" and not check.is_passed]


def judge(checks: Iterable[Check]) -> Verdict:
    """Return the verdict over the checks."""
    return Verdict(tuple(checks))
