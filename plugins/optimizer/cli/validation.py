"""What a run's validation found, from the rows of the control plane: outcome, target, and the checks that failed."""

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from optimizer.control_plane.records import Run, RunMetric
from optimizer.core.checks.catalogue import RULES
from optimizer.core.checks.outcome import VERDICT_CODES, going_live
from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.target_reach import target_sentence
from optimizer.presentation.terminal import console, print_table
from optimizer.reporting.forecast import forecast_of, forecast_sentence
from optimizer.reporting.learning import learning_sentence
from optimizer.runs.handle import settings_of

_VERDICTS: dict[float | None, str] = {code: verdict for verdict, code in VERDICT_CODES.items()}
_ORDER = ("failed", "holds", "warning")

DRY_RUN_NOTE = "A dry run can never be deployed."


def validation_document(row: Run, metrics: Iterable[RunMetric]) -> dict[str, Any]:
    """Return what a run says of itself: learning, target where that is missed, forecast, outcome and failed checks.

    Details of a single run, such as the value of a feature, are in its metrics.json and report.html.
    """
    sections: dict[str, dict[str, float | None]] = {}
    for metric in metrics:
        sections.setdefault(metric.metric_section, {})[metric.metric_key] = metric.metric_value
    checks = _failed_checks(sections)
    holds = [check["check"] for check in checks if check["verdict"] == "holds"]
    is_known = "validation_verdicts" in sections
    settings = settings_of(row) if row.config_snapshot else RunSettings()
    return {
        "outcome": row.outcome,
        "going_live": DRY_RUN_NOTE
        if row.is_dry_run
        else going_live(row.validation_status, row.validation_warnings, holds=holds if is_known else None),
        "learning": learning_sentence(sections),
        "target": target_sentence(sections, settings),
        "forecast": forecast_of(sections),
        "checks": checks,
    }


def print_validation(document: dict[str, Any]) -> None:
    """Print what `validation_document` returned: learning and target first, then forecast, outcome and checks."""
    for sentence in filter(None, (document["learning"], document["target"])):
        console.print(Text(f"{sentence}.", style="bold"), soft_wrap=True)
    if forecast := forecast_sentence(document["forecast"]):
        console.print(Text(f"{forecast}."), soft_wrap=True)
    if document["outcome"]:
        console.print(Text(f"Validation {document['outcome']}. {document['going_live']}"), soft_wrap=True)
    if document["checks"]:
        print_table(
            "Checks that did not pass",
            ["check", "verdict", "figure", "limit", "what to do"],
            (
                [check["check"], check["verdict"], check["figure"], _limit(check), check["message"]]
                for check in document["checks"]
            ),
        )


def _failed_checks(sections: dict[str, dict[str, float | None]]) -> list[dict[str, Any]]:
    figures, limits = sections.get("validation", {}), sections.get("validation_limits", {})
    found = []
    for name, code in sections.get("validation_verdicts", {}).items():
        verdict, rule = _VERDICTS.get(code, "passed"), RULES.get(name)
        if verdict != "passed":
            found.append(
                {
                    "check": name,
                    "verdict": verdict,
                    "figure": figures.get(name),
                    "relation": None if rule is None else rule.relation,
                    "limit": limits.get(name),
                    "message": None if rule is None else f"{rule.problem}; {rule.next_step}",
                }
            )
    return sorted(found, key=lambda check: _ORDER.index(check["verdict"]))


def _limit(check: dict[str, Any]) -> str | None:
    limit = check["limit"]
    return None if limit is None else f"{check['relation'] or ''} {limit:.6g}".strip()
