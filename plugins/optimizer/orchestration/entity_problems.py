"""What is wrong with the entities, where people who look at Airflow see it: as an import error of a file without DAGs.

The parse of the entities' DAGs goes on with what was good last, so by itself it shows nothing on Airflow's first page.
"""

import json
from collections.abc import Sequence
from pathlib import Path

PROBLEMS_NAME = "entity_problems.json"


class EntityProblems(Exception):
    """Raised while a DAG file is parsed: what is wrong with entities, and what to do."""


def write_problems(snapshot: Path, problems: Sequence[str]) -> None:
    """Keep the problems beside the snapshot of the entities, for `raise_problems`."""
    path, text = snapshot.with_name(PROBLEMS_NAME), json.dumps(problems, indent=1)
    if not path.exists() and not problems:
        return
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def raise_problems(snapshot: Path) -> None:
    """Pass where the newest parse of the entities found nothing wrong.

    Raises:
        EntityProblems: names each problem.
    """
    path = snapshot.with_name(PROBLEMS_NAME)
    problems = json.loads(path.read_text() or "[]") if path.exists() else []
    if problems:
        raise EntityProblems("\n".join(problems))
