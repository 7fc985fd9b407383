"""What core found of live figures, as rows of opt_live_verdicts."""

from collections.abc import Iterable, Sequence
from datetime import date

from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.core.live.performance import Finding


def verdict_records(
    findings: Iterable[Finding],
    *,
    run_id: str | None,
    days: Sequence[date],
    compared_with: str,
    control_id: str | None = None,
) -> list[LiveVerdict]:
    """Return the rows, a figure each.

    Args:
        run_id: the run that was judged; None: the policy, which is all runs but the control.
        days: the days that it was judged by, in order.
        compared_with: `forecast`, `control`, or `split` for the largest other share.
        control_id: the run that it was compared with; None for a forecast.
    """
    return [
        LiveVerdict.model_validate(
            {
                "run_id": run_id,
                "compared_with": compared_with,
                "control_run_id": control_id,
                "figure": finding.figure,
                "verdict": finding.verdict,
                "reason": finding.reason,
                "first_day": days[0] if days else None,
                "last_day": days[-1] if days else None,
                "days": len(days),
                "live": finding.live.value,
                "live_low": finding.live.low,
                "live_high": finding.live.high,
                "expected": finding.expected,
                "control": finding.control,
                "difference": finding.difference.value,
                "difference_low": finding.difference.low,
                "difference_high": finding.difference.high,
            }
        )
        for finding in findings
    ]
