"""The table of checks, and docs/validation.md, which shows it."""

import re
from pathlib import Path

from optimizer.core.checks.catalogue import RULES, TOPICS

PAGE = Path(__file__).parents[3] / "docs" / "validation.md"


def test_names_are_unique_and_every_rule_says_what_is_wrong_and_what_to_do():
    assert len(RULES) == sum(len(rules) for rules in TOPICS.values())
    assert all(rule.problem and rule.next_step and rule.limit_text for rule in RULES.values())


def test_the_page_shows_every_rule_with_its_severity_and_limit():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), flags=re.M)
    relations = {"<=": "at most", ">=": "at least"}
    shown = {name: (severity, limit.strip()) for name, severity, limit in rows}
    assert shown == {
        rule.name: (rule.severity, f"{relations[rule.relation]} {rule.limit_text}") for rule in RULES.values()
    }
