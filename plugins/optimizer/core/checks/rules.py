"""A rule: a check as one row of a table, without its figure.

Each topic has its rules and the functions that measure their figures in one module; `catalogue` has them all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from optimizer.core.checks.outcome import Check, Relation, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A check without its figure.

    severity: what a failure does, unless the caller knows better.
    limit_text: the limit, as the docs write it: a number or a config key.
    """

    name: str
    severity: Severity
    relation: Relation
    limit_text: str
    problem: str
    next_step: str

    def check(
        self,
        figure: float,
        limit: float,
        *,
        problem: str | None = None,
        next_step: str | None = None,
        severity: Severity | None = None,
    ) -> Check:
        """Return the check of this figure; what is given replaces the rule's own text or severity."""
        return Check(
            name=self.name,
            severity=severity or self.severity,
            figure=float(figure),
            relation=self.relation,
            limit=float(limit),
            problem=problem or self.problem,
            next_step=next_step or self.next_step,
        )

    def check_known(self, figure: float | None, limit: float | None) -> list[Check]:
        """Return the check, or nothing where there is nothing to compare with."""
        return [] if figure is None or limit is None else [self.check(figure, limit)]


def by_name(rules: Iterable[Rule]) -> dict[str, Rule]:
    """Return the rules by their names."""
    return {rule.name: rule for rule in rules}
