"""The approval request of a run: its numbers, and what changes compared with the live run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.control_plane import deployments, runs
from optimizer.control_plane.records import Deployment
from optimizer.core.checks.outcome import CheckRecord, failed_checks, held_by
from optimizer.core.live.performance import ForecastFigures, forecast_of_bids
from optimizer.core.pricing.run_comparison import find_figure
from optimizer.core.pricing.target_reach import target_sentence
from optimizer.deployment.holds import needs_person, reason_to_hold
from optimizer.errors import ArtifactError, RunStateError
from optimizer.presentation.formats import amount, change, count, measure, percent, points, signed_amount
from optimizer.reporting.forecast import forecast_of, forecast_sentence
from optimizer.reporting.learning import learning_sentence
from optimizer.runs.handle import RunHandle, settings_of
from optimizer.runs.published_run import PublishedRun, read_published
from optimizer.runs.systems import Systems

_BACKTEST_ROWS: tuple[tuple[str, str, Callable[[Any], str], Callable[[Any], str]], ...] = (
    ("win_rate", "win rate", percent, points),
    ("cpm", "CPM", amount, signed_amount),
    ("spend", "spend", amount, signed_amount),
    ("surplus", "surplus", amount, signed_amount),
    ("margin", "margin", percent, points),
)


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """The question and the numbers to decide it, in Markdown."""

    subject: str
    body: str
    timeout_hours: int


@dataclass(frozen=True, slots=True)
class _Figure:
    """One line of the comparison: how values are written, and how their change is."""

    name: str
    write: Callable[[Any], str]
    compare: Callable[[float, float], str]


_FIGURES = {
    "requests": _Figure("requests in the window", count, lambda new, old: change(new / old - 1)),
    "win_rate": _Figure("expected win rate", percent, lambda new, old: points(new - old)),
    "cpm": _Figure("expected CPM", amount, lambda new, old: change(new / old - 1)),
    "spend": _Figure("expected spend a day", amount, lambda new, old: change(new / old - 1)),
    "margin": _Figure("expected margin", percent, lambda new, old: points(new - old)),
    "median": _Figure("median bid, CPM", amount, lambda new, old: change(new / old - 1)),
    "segments": _Figure("segments with a bid", count, lambda new, old: change(new / old - 1)),
    "coverage": _Figure("requests that find their bid", percent, lambda new, old: points(new - old)),
}


def request_of(run: RunHandle, *, systems: Systems) -> ApprovalRequest | str:
    """Return the approval request, or the reason why none is needed.

    Raises:
        ArtifactError: the run's own objects cannot be read.
        UnavailableError: a system is silent.
    """
    row = runs.read_run(systems.engine, run.run_id)
    if reason := reason_to_hold(row):
        return reason
    settings = settings_of(row)
    if not needs_person(row, settings, engine=systems.engine):
        return f"promotion={settings.promotion}: no approval needed for run {run.run_id}"
    published = read_published(run.run_id, engine=systems.engine, store=systems.store)
    active = deployments.read_active(systems.engine, run.entity_code)
    active_run, problem = _read_active_run(active, run.run_id, systems)
    parts = [
        *(
            f"**{sentence}**"
            for sentence in (
                learning_sentence(published.metrics),
                target_sentence(published.metrics, published.settings),
            )
            if sentence is not None
        ),
        _opening(published, active),
        *([] if problem is None else [problem]),
        *([] if (forecast := forecast_sentence(forecast_of(published.metrics))) is None else [f"{forecast}."]),
        _comparison(published, active_run),
        _backtest(published.metrics.get("backtest") or {}),
        _checks(published.checks),
        f"Rejected, or not answered within {settings.approval_timeout_hours} hours, it does not go live, and what is "
        f"live stays. `optimizer show {run.run_id}` and its report.html say more.",
    ]
    subject = f"{run.entity_code}: put run {run.run_id} live?"
    return ApprovalRequest(subject, "\n\n".join(parts), settings.approval_timeout_hours)


def _read_active_run(active: list[Deployment], run_id: str, systems: Systems) -> tuple[PublishedRun | None, str | None]:
    """The run with most of the traffic, or why it cannot be compared with."""
    others = [deployment.run_id for deployment in active if deployment.run_id != run_id]
    if not others:
        return None, None
    try:
        return read_published(others[0], engine=systems.engine, store=systems.store), None
    except (ArtifactError, RunStateError) as error:
        return None, f"**There is nothing to compare with:** {error}"


def _opening(published: PublishedRun, active: list[Deployment]) -> str:
    row = published.row
    live = ", ".join(f"run `{deployment.run_id}` with {deployment.traffic_pct} %" for deployment in active)
    window = (
        f"{row.data_start_dt:%Y-%m-%d} to {row.data_end_dt:%Y-%m-%d}" if row.data_start_dt and row.data_end_dt else "?"
    )
    return (
        f"Run `{published.run_id}` of **{published.manifest.entity_code}**: validation **{row.outcome}** (log of "
        f"{window}, started by {row.triggered_by}). Approved, it gets all of the traffic. Live now: {live or 'no run'}."
    )


def _comparison(published: PublishedRun, active_run: PublishedRun | None) -> str:
    new, old = _figures(published), {} if active_run is None else _figures(active_run)
    if active_run is None:
        return _table(
            ("", f"run {published.run_id}"), ((figure.name, figure.write(new[key])) for key, figure in _FIGURES.items())
        )
    return _table(
        ("", f"run {published.run_id}", f"live: run {active_run.run_id}", "change"),
        (
            (figure.name, figure.write(new[key]), figure.write(old[key]), _change(figure, new[key], old[key]))
            for key, figure in _FIGURES.items()
        ),
    )


def _figures(published: PublishedRun) -> dict[str, float | None]:
    """The figures of _FIGURES; None if the run does not have one."""
    row, of_bids, forecast = published.row, forecast_of_bids(published.bids), forecast_of(published.metrics)
    return {
        "requests": row.total_bids,
        "win_rate": forecast.get("expected_win_rate", of_bids.win_rate),
        "cpm": forecast.get("expected_cpm", of_bids.cpm),
        "spend": forecast.get("expected_spend_per_day", _spend_per_day(published, of_bids)),
        "margin": forecast.get("expected_margin", of_bids.margin),
        "median": row.bid_median,
        "segments": row.segments_count,
        "coverage": find_figure(published.metrics, "row_coverage"),
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
    """What the bids would have brought on the log's last days, with 95 % intervals."""
    if not figures:
        return "**Backtest:** none, there was no active run to compare with."
    days = f"on the log's last {count(figures['days'])} days"
    if not figures.get("is_supported"):
        return f"**Backtest** {days}: not supported by the log; see the check `backtest_supported`."
    rows = (
        (
            name,
            _with_interval(figures, f"{key}_new", write),
            write(figures[f"{key}_active"]),
            _with_interval(figures, f"{key}_difference", compare),
        )
        for key, name, write, compare in _BACKTEST_ROWS
        if figures.get(f"{key}_new") is not None
    )
    return f"**Backtest** {days}, with 95 % intervals:\n\n" + _table(
        ("", "new bids", "active bids", "difference"), rows
    )


def _with_interval(figures: dict[str, Any], name: str, write: Callable[[Any], str]) -> str:
    value, low, high = (write(figures[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})"


def _checks(checks: Sequence[CheckRecord]) -> str:
    """The checks that warn, those that hold the run first, each with its figure and what to do."""
    failed = failed_checks(checks)
    if not failed:
        return f"**Validation:** {len(checks)} checks, all passed."
    held = held_by(checks)
    meaning = f" {len(held)} would keep it from going live without approval." if held else ""
    return f"**Validation:** {len(checks)} checks, {len(failed)} warn.{meaning}\n\n" + "\n".join(map(_warning, failed))


def _warning(check: CheckRecord) -> str:
    text = f"- `{check.name}` is {measure(check.figure)}, must be {check.relation} {measure(check.limit)}"
    return f"{text}: {check.message}" if check.message else text


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    lines = [list(head), *map(list, rows)]
    align = ["---", *("---:" for _ in lines[0][1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], align, *lines[1:]))
