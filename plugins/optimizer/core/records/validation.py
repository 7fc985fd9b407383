"""validation.json: what the checks of a run found."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from optimizer.core.checks.outcome import CheckRecord, Verdict
from optimizer.core.pricing.target_reach import TargetReach


class Validation(BaseModel):
    """The verdict over a run's checks, and the files that it holds for.

    failures, warnings: messages of the checks that did not pass; holds: names of those that hold the run.
    checksums: SHA-256 of the staged files as they were validated.
    target: the figures of section `target`; target_sentence: what can be reached and what limits it, None where the
        target is reached.
    """

    model_config = ConfigDict(frozen=True)

    is_passed: bool
    outcome: str
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    holds: tuple[str, ...] = ()
    checks: tuple[CheckRecord, ...]
    checksums: Mapping[str, str]
    target: Mapping[str, float | None]
    target_sentence: str | None

    @classmethod
    def of(
        cls, verdict: Verdict, *, checksums: Mapping[str, str], reach: TargetReach, target_sentence: str | None
    ) -> "Validation":
        """Return the record of a verdict."""
        return cls(
            is_passed=verdict.is_passed,
            outcome=verdict.outcome,
            failures=tuple(verdict.failures),
            warnings=tuple(verdict.warnings),
            holds=tuple(verdict.holds),
            checks=tuple(map(CheckRecord.of, verdict.checks)),
            checksums=checksums,
            target={
                "target_win_rate": reach.target_win_rate,
                "expected_win_rate": reach.expected_win_rate,
                "reachable_win_rate": reach.reachable_win_rate,
                **{f"share_{reason}": share for reason, share in reach.limiting_shares.items()},
            },
            target_sentence=target_sentence,
        )

    @property
    def status(self) -> str:
        """opt_runs.validation_status: passed or failed."""
        return "passed" if self.is_passed else "failed"
