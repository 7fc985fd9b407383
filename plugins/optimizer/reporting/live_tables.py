"""The run next to what is live: how its served bids differ and why, its forecast, and what was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optimizer.core.frames import rows_of
from optimizer.core.pricing.served_changes import CAUSES
from optimizer.core.records.estimate import Estimate
from optimizer.presentation.formats import MISSING, amount, change, count, percent, points, segments, signed_amount
from optimizer.reporting.forecast import interval
from optimizer.reporting.report_data import ComparedWith, LiveComparison, RunStory
from optimizer.reporting.tables import REASONS, reason_name

MOST_CHANGES = 15

NO_BID = "no bid"

_FIGURES: tuple[tuple[str, str, str | None, Callable[[Any], str], Callable[[Any], str]], ...] = (
    ("expected_win_rate", "Win rate", "win_rate", percent, points),
    ("expected_cpm", "CPM", "cpm", amount, signed_amount),
    ("expected_margin", "Margin", "margin", percent, points),
    ("expected_spend_per_day", "Spend a day", None, amount, signed_amount),
)
"""Forecast, its name, what is measured of it, how a value is written, how a difference is."""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A segment whose served bid changes; money at stake is the change of its expected spend a day."""

    segment_key: str
    before: str
    now: str
    change: str
    requests: str
    at_stake: str
    cause: str


@dataclass(frozen=True, slots=True)
class CauseRow:
    """How many served bids change for one cause, and what it means."""

    cause: str
    meaning: str
    segments: str
    requests: str
    at_stake: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A number with its 95 % interval, empty where it has none."""

    value: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class LiveTable:
    """Figures next to each other: this run, the live run, the control, each forecast and measured."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def change_summary(story: RunStory) -> str:
    """Return one sentence on how the served bids change from the live run to this one."""
    live = story.live
    if live is None:
        return "No run was live when this one was priced: every bid is new, and there is nothing to compare it with."
    if live.problem is not None:
        return f"The bids of the live run cannot be compared: {live.problem}."
    if live.changes is None:
        how = f"bids are compared by {story.key_features[0]} only" if live.anchors else "its bids cannot be compared"
        return f"Live run {live.live.run_id} has another segment key, so {how}."
    if live.changes.empty:
        return f"No served bid changes: this run serves what the live run {live.live.run_id} serves."
    total = story.bids["requests"].sum()
    share = percent(live.changes["requests"].sum() / total if total > 0 else None)
    return (
        f"Against the live run {live.live.run_id} the served bids of {count(len(live.changes))} of "
        f"{segments(len(story.bids))} change, which have {share} of the requests. Expected spend changes by "
        f"{signed_amount(live.changes['spend_change'].sum())} a day."
    )


def change_rows(story: RunStory) -> list[ChangeRow]:
    """Return the changes with most money at stake."""
    changes = _changes(story.live)
    return [
        ChangeRow(
            segment_key=row.segment_key,
            before=_bid(row.before_cpm),
            now=_bid(row.after_cpm),
            change=change(row.after_cpm / row.before_cpm - 1) if row.before_cpm and row.after_cpm else MISSING,
            requests=_volume(row.requests),
            at_stake=signed_amount(row.spend_change),
            cause=reason_name(row.cause),
        )
        for row in rows_of(changes.head(MOST_CHANGES))
    ]


def cause_rows(story: RunStory) -> list[CauseRow]:
    """Return the causes of the changes, that of most requests first."""
    changes, total = _changes(story.live), story.bids["requests"].sum()
    grouped = changes.groupby("cause")[["requests", "spend_change"]]
    sums = grouped.sum().assign(segments=grouped.size()).sort_values("requests", ascending=False, kind="stable")
    return [
        CauseRow(
            cause=reason_name(row.Index),
            meaning=CAUSES.get(row.Index) or REASONS.get(row.Index, ""),
            segments=count(row.segments),
            requests=percent(row.requests / total if total > 0 else None),
            at_stake=signed_amount(row.spend_change),
        )
        for row in rows_of(sums)
    ]


def anchor_rows(story: RunStory) -> list[tuple[str, str, str, str]]:
    """Return anchor value, mean bid of the live run, of this one, and the change, where segment keys differ."""
    anchors = () if story.live is None else story.live.anchors
    return [
        (
            anchor.anchor_value or "(empty)",
            amount(anchor.before_cpm),
            amount(anchor.after_cpm),
            change(anchor.after_cpm / anchor.before_cpm - 1),
        )
        for anchor in anchors
    ]


def live_table(story: RunStory) -> LiveTable | None:
    """Return this run's forecast next to those of live run and control and what was measured; None without live run."""
    if story.live is None:
        return None
    live, control = story.live.live, story.live.control
    columns = ["This run, forecast", *_headings("Live run", live)]
    if control is not None:
        columns += _headings("Control", control)
    if story.live.against_control:
        columns.append("Optimizer less control")
    rows = []
    for name, title, figure, write, write_difference in _FIGURES:
        cells = [_forecast(story.figures, name, write), *_cells(live, name, figure, write)]
        if control is not None:
            cells += _cells(control, name, figure, write)
        if story.live.against_control:
            cells.append(_measured(story.live.against_control.get(figure or ""), write_difference))
        rows.append((title, tuple(cells)))
    return LiveTable(tuple(columns), tuple(rows))


def live_sentence(story: RunStory) -> str:
    """Return what was live and how long it was measured; empty without a live run."""
    if story.live is None:
        return ""
    live, control = story.live.live, story.live.control
    parts = [f"Run {live.run_id} was live when this one was priced; {_span(live)}."]
    if control is None:
        parts.append("The client has no control beside it, so what the optimizer saves is not measured.")
    else:
        parts.append(f"Control {control.run_id} bids what was usual before the optimizer; {_span(control)}.")
    return " ".join(parts)


def _changes(live: LiveComparison | None) -> pd.DataFrame:
    if live is None or live.changes is None:
        return pd.DataFrame({"cause": [], "requests": [], "spend_change": []})
    return live.changes


def _bid(bid_cpm: float) -> str:
    return amount(bid_cpm) if bid_cpm > 0 else NO_BID


def _volume(requests: float) -> str:
    """Requests a day; small segments have less than one."""
    return count(requests) if requests >= 10 else f"{requests:.1f}"


def _headings(title: str, run: ComparedWith) -> list[str]:
    return [f"{title}, forecast", *([f"{title}, measured"] if run.measured else [])]


def _cells(run: ComparedWith, name: str, figure: str | None, write: Callable[[Any], str]) -> list[Cell]:
    """The forecast and, where anything of the run was measured, what was."""
    measured = [_measured(run.measured.get(figure or ""), write)] if run.measured else []
    return [_forecast(run.forecast, name, write), *measured]


def _forecast(figures: Mapping[str, Any], name: str, write: Callable[[Any], str]) -> Cell:
    return Cell(write(figures.get(name)), interval(figures, name))


def _measured(found: Estimate | None, write: Callable[[Any], str]) -> Cell:
    if found is None or found.value is None or not np.isfinite(found.value):
        return Cell(MISSING)
    if found.low is None or found.high is None:
        return Cell(write(found.value))
    return Cell(write(found.value), f"{write(found.low)} to {write(found.high)}")


def _span(run: ComparedWith) -> str:
    if not run.days or run.last_day is None:
        return "nothing was measured of it yet"
    return f"measured over {run.days} day{'' if run.days == 1 else 's'} up to {run.last_day:%Y-%m-%d}"
