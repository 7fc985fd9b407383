"""The outcome of a run's checks, and what it means for going live.

A check that fails has one of three effects, its severity: `hard` fails the run, `hold` keeps it from going live
automatically, `soft` only warns.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["hard", "hold", "soft"]
Relation = Literal["<=", ">="]

VERDICT_CODES = {"passed": 0, "warning": 1, "holds": 2, "failed": 3}
"""Verdict on one check: its number in opt_run_metrics, section `validation_verdicts`."""

_FAILED_VERDICTS = {"hard": "failed", "hold": "holds", "soft": "warning"}
_RELATION_WORDS = {"<=": "at most", ">=": "at least"}


@dataclass(frozen=True, slots=True)
class Check:
    """One check with its figure and its limit, both in the figure's own unit.

    problem: what is wrong where it fails; next_step: what to do about it.
    """

    name: str
    severity: Severity
    figure: float
    relation: Relation
    limit: float
    problem: str
    next_step: str

    @property
    def is_passed(self) -> bool:
        """Whether the figure keeps the limit; NaN never does."""
        return bool(self.figure <= self.limit if self.relation == "<=" else self.figure >= self.limit)

    @property
    def verdict(self) -> str:
        """One of VERDICT_CODES."""
        return _verdict(self.severity, is_passed=self.is_passed)

    @property
    def message(self) -> str:
        """Figure, limit, problem and next step; without the last two where it passed."""
        text = f"{self.name} is {self.figure:.6g}, must be {_RELATION_WORDS[self.relation]} {self.limit:.6g}"
        return text if self.is_passed else f"{text}: {self.problem}; {self.next_step}"


class CheckRecord(BaseModel):
    """A check as validation.json and metrics.json hold it.

    figure: None where it is not finite.
    message: problem and next step; empty where it passed.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    severity: Severity = "soft"
    figure: float | None = None
    relation: Relation
    limit: float
    is_passed: bool = True
    verdict: str = Field(default_factory=lambda known: _verdict(known["severity"], is_passed=known["is_passed"]))
    message: str = ""

    @classmethod
    def of(cls, check: Check) -> "CheckRecord":
        """Return the record of a check."""
        return cls(
            name=check.name,
            severity=check.severity,
            figure=float(check.figure) if math.isfinite(check.figure) else None,
            relation=check.relation,
            limit=float(check.limit),
            is_passed=check.is_passed,
            verdict=check.verdict,
            message="" if check.is_passed else f"{check.problem}; {check.next_step}",
        )


def _verdict(severity: Severity, *, is_passed: bool) -> str:
    return "passed" if is_passed else _FAILED_VERDICTS[severity]


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of a run."""

    checks: tuple[Check, ...]

    @property
    def is_passed(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> list[str]:
        """Messages of the hard checks that failed."""
        return [check.message for check in self.checks if check.verdict == "failed"]

    @property
    def warnings(self) -> list[str]:
        """Messages of all other checks that failed; those that hold the run come first."""
        return [check.message for verdict in ("holds", "warning") for check in self.checks if check.verdict == verdict]

    @property
    def holds(self) -> list[str]:
        """Names of the checks that keep the run from going live automatically."""
        return [check.name for check in self.checks if check.verdict == "holds"]

    @property
    def outcome(self) -> str:
        """See `outcome_text`."""
        return _outcome_text("passed" if self.is_passed else "failed", len(self.warnings))


def judge(checks: Iterable[Check]) -> Verdict:
    """Return the verdict over the checks."""
    return Verdict(tuple(checks))


def outcome_text(status: str | None, warnings: int | None) -> str | None:
    """Return `passed`, `passed with n warnings` or `failed`; None before a run was validated.

    Args:
        status: opt_runs.validation_status.
        warnings: opt_runs.validation_warnings; None for a run of an older version, which did not count them.
    """
    return None if status is None else _outcome_text(status, warnings)


def _outcome_text(status: str, warnings: int | None) -> str:
    if status != "passed" or not warnings:
        return status
    return f"passed with {warnings} warning{'' if warnings == 1 else 's'}"


def going_live(status: str | None, warnings: int | None, *, holds: Sequence[str] | None = None) -> str:
    """Return what the outcome means for going live, as one sentence.

    Args:
        holds: names of the checks that hold the run; None where they are not known.
    """
    if status is None:
        return "The run was not validated, so it cannot go live."
    if status != "passed":
        return "The run can never go live; its outputs are kept for inspection."
    if holds:
        return (
            f"The run does not go live automatically ({', '.join(holds)}); it can still be approved, or deployed with "
            "`optimizer deploy`."
        )
    if warnings and holds is None:
        return "The run can be deployed; a warning that holds keeps it from going live automatically."
    return "The run can go live; read its warnings." if warnings else "The run can go live."


def failed_checks(checks: Iterable[CheckRecord]) -> list[CheckRecord]:
    """Return the checks that did not pass, the gravest first."""
    gravest = ("hard", "hold", "soft")
    failed = [check for check in checks if not check.is_passed]
    return sorted(failed, key=lambda check: gravest.index(check.severity))


def held_by(checks: Iterable[CheckRecord]) -> list[str]:
    """Return the names of the checks that hold the run."""
    return [check.name for check in checks if check.verdict == "holds"]


def checks_of(metrics: Mapping[str, Any]) -> tuple[CheckRecord, ...]:
    """Return the checks of a metrics.json, whatever the version of the run."""
    return tuple(CheckRecord.model_validate(check) for check in metrics.get("checks") or ())
