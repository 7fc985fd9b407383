"""The numbers of an approval request, and what changes compared with the live run, in Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.control_plane import deployment_history
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.records import Deployment
from optimizer.core.checks.outcome import CheckRecord, failed_checks, held_by
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.performance import ForecastFigures, forecast_of_bids
from optimizer.core.pricing.run_comparison import find_figure
from optimizer.core.pricing.target_reach import target_sentence
from optimizer.errors import ArtifactError, RunStateError
from optimizer.presentation.formats import amount, change, count, measure, percent, points, signed_amount
from optimizer.reporting.forecast import forecast_of, written
from optimizer.reporting.learning import learning_sentence
from optimizer.runs.handle import RunHandle
from optimizer.runs.published_run import PublishedRun, read_published
from optimizer.runs.systems import Systems

MOST_WARNINGS = 3
"""The request names this many checks, those that hold the run first, so that its buttons stay in view."""

_Values = dict[str, float | None]

_BACKTEST_FIGURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("win_rate", "win rate", points),
    ("cpm", "CPM", signed_amount),
    ("surplus", "surplus", signed_amount),
)

_FORECAST = {
    "win_rate": "expected_win_rate",
    "cpm": "expected_cpm",
    "spend": "expected_spend_per_day",
    "margin": "expected_margin",
}
"""Figure of the comparison: its name in the forecast."""


@dataclass(frozen=True, slots=True)
class _Figure:
    """One line of the comparison: how values are written, and how their change is."""

    name: str
    write: Callable[[Any], str]
    compare: Callable[[float, float], str]


def _money_change(new: float, old: float) -> str:
    return f"{signed_amount(new - old)}, {change(new / old - 1)}"


_FIGURES = {
    "win_rate": _Figure("expected win rate", percent, lambda new, old: points(new - old)),
    "cpm": _Figure("expected CPM", amount, lambda new, old: change(new / old - 1)),
    "spend": _Figure(
        "**money at stake:** spend a day",
        amount,
        lambda new, old: f"{signed_amount(new - old)}, {change(new / old - 1)}",
    ),
    "margin": _Figure("expected margin", percent, lambda new, old: points(new - old)),
}


def request_body(run: RunHandle, settings: RunSettings, *, systems: Systems) -> str:
    """Return what a person needs to decide whether the run goes live.

    Raises:
        ArtifactError: the run's own objects cannot be read.
        UnavailableError: a system is silent.
    """
    published = read_published(run.run_id, engine=systems.engine, store=systems.store)
    active = deployment_history.read_active(systems.engine, run.entity_code)
    active_run, problem = _read_active_run(active, run.run_id, systems)
    new, old = _values(published), {} if active_run is None else _values(active_run)
    parts = [
        _checks(published.checks, run_id=run.run_id),
        *_target(published),
        _opening(run.run_id, active, share=_share(run, settings, systems), hours=settings.approval_timeout_hours),
        *([] if problem is None else [problem]),
        _comparison(published, active_run, new=new, old=old),
        f"{_backtest(published.metrics.get('backtest') or {})} More: `optimizer show {run.run_id}`.",
    ]
    return "\n\n".join(parts)


def _read_active_run(active: list[Deployment], run_id: str, systems: Systems) -> tuple[PublishedRun | None, str | None]:
    """The run with most of the traffic, or why it cannot be compared with."""
    others = [deployment.run_id for deployment in active if deployment.run_id != run_id]
    if not others:
        return None, None
    try:
        return read_published(others[0], engine=systems.engine, store=systems.store), None
    except (ArtifactError, RunStateError) as error:
        return None, f"**There is nothing to compare with:** {error}"


def _share(run: RunHandle, settings: RunSettings, systems: Systems) -> str:
    """What an approved run gets: all traffic but the share of the control, where the entity has or gets one."""
    entity = read_definition(systems.engine, run.entity_code).entity
    has_control = entity.control_run_id is not None or not deployment_history.was_live(systems.engine, entity.entity_id)
    control_pct = settings.control_pct if has_control else 0
    if control_pct == 0:
        return "all of the traffic"
    return f"{100 - control_pct} % of the traffic, and the control keeps {control_pct} %"


def _opening(run_id: str, active: list[Deployment], *, share: str, hours: int) -> str:
    live = ", ".join(f"run `{deployment.run_id}` with {deployment.traffic_pct} %" for deployment in active)
    return (
        f"Approved, run `{run_id}` gets {share}. Live now: {live or 'no run'}. "
        f"Rejected, or not answered within {hours} hours, it does not go live, and what is live stays."
    )


def _target(published: PublishedRun) -> list[str]:
    """What the run still learns and what limits its target; that the target is reached, where nothing does."""
    learning = learning_sentence(published.metrics)
    missed = target_sentence(published.metrics, published.settings)
    lines = [f"**{sentence}.**" for sentence in (learning, missed) if sentence is not None]
    target = find_figure(published.metrics, "target_win_rate")
    if missed is None and target is not None:
        lines.append(f"Target win rate {percent(target)}: reached.")
    return lines


def _comparison(published: PublishedRun, active_run: PublishedRun | None, *, new: _Values, old: _Values) -> str:
    """The run's figures, the forecasts with their 95 % intervals, next to those of the live run."""
    forecast = forecast_of(published.metrics)
    rows = [(figure.name, _write(key, new[key], forecast)) for key, figure in _FIGURES.items()]
    if active_run is None:
        return _table(("with 95 % intervals", "this run"), rows)
    return _table(
        ("with 95 % intervals", "this run", "live", "change"),
        (
            (*row, figure.write(old[key]), _change(figure, new[key], old[key]))
            for row, (key, figure) in zip(rows, _FIGURES.items(), strict=True)
        ),
    )


def _write(key: str, value: float | None, forecast: Mapping[str, Any]) -> str:
    """A figure as `optimizer show` writes it: a forecast comes with its 95 % interval."""
    name = _FORECAST.get(key)
    return _FIGURES[key].write(value) if name is None or name not in forecast else written(forecast, name)


def _values(published: PublishedRun) -> _Values:
    """The values of _FIGURES; None if the run does not have one."""
    of_bids, forecast = forecast_of_bids(published.bids), forecast_of(published.metrics)
    return {
        "win_rate": forecast.get(_FORECAST["win_rate"], of_bids.win_rate),
        "cpm": forecast.get(_FORECAST["cpm"], of_bids.cpm),
        "spend": forecast.get(_FORECAST["spend"], _spend_per_day(published, of_bids)),
        "margin": forecast.get(_FORECAST["margin"], of_bids.margin),
    }


def _spend_per_day(published: PublishedRun, of_bids: ForecastFigures) -> float | None:
    """Spend a day over the window's requests: for runs of older versions, which left no forecast of it."""
    row, bids = published.row, float(published.bids["bids"].sum())
    if of_bids.cpm is None or of_bids.win_rate is None or not row.data_start_dt or not row.data_end_dt:
        return None
    return bids * of_bids.win_rate * of_bids.cpm / 1000 / max((row.data_end_dt - row.data_start_dt).days, 1)


def _change(figure: _Figure, new: float | None, old: float | None) -> str:
    return "" if new is None or not old or not np.isfinite([new, old]).all() else figure.compare(new, old)


def _backtest(figures: dict[str, Any]) -> str:
    """What the bids would have changed on the log's last days, with 95 % intervals."""
    if not figures:
        return "**Backtest:** none, there was no active run to compare with."
    days = f"on the log's last {count(figures['days'])} days"
    if not figures.get("is_supported"):
        return f"**Backtest** {days}: not supported by the log; see the check `backtest_supported`."
    changes = (
        f"{name} {_with_interval(figures, f'{key}_difference', compare)}"
        for key, name, compare in _BACKTEST_FIGURES
        if figures.get(f"{key}_new") is not None
    )
    return f"**Backtest** {days}, change against the active bids with 95 % intervals: {', '.join(changes)}."


def _with_interval(figures: dict[str, Any], name: str, write: Callable[[Any], str]) -> str:
    value, low, high = (write(figures[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})"


def _checks(checks: Sequence[CheckRecord], *, run_id: str) -> str:
    """The checks that warn with their figures, first those that hold the run, with what to do; the rest is counted."""
    failed = failed_checks(checks)
    if not failed:
        return f"**Validation:** {len(checks)} checks, all passed."
    held = held_by(checks)
    meaning = f" {len(held)} would keep it from going live without approval." if held else ""
    warned = f"{len(failed)} warning{'s' if len(failed) > 1 else ''}"
    lines = [f"**Validation:** {len(checks)} checks, validation **passed with {warned}**.{meaning}\n"]
    lines += map(_warning, failed[:MOST_WARNINGS])
    if (more := len(failed) - MOST_WARNINGS) > 0:
        lines.append(f"- and {more} more: `optimizer show {run_id}`")
    return "\n".join(lines)


def _warning(check: CheckRecord) -> str:
    text = f"- `{check.name}` is {measure(check.figure)}, must be {check.relation} {measure(check.limit)}"
    return f"{text}: {check.message}" if check.verdict == "holds" else text


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    lines = [list(head), *map(list, rows)]
    align = ["---", *("---:" for _ in lines[0][1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], align, *lines[1:]))
