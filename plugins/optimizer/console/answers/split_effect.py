"""What a change of the split does to figures, served bids and files: read from what the runs published."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from optimizer.console.context import Context
from optimizer.control_plane.live_records import read_days
from optimizer.control_plane.records import Run
from optimizer.core.live.split_effect import (
    RunForecast,
    ServedChange,
    ServedRunBids,
    blend_forecasts,
    compare_served,
    without_interval,
)
from optimizer.core.records.estimate import Estimate
from optimizer.core.serving.keys import split_key
from optimizer.deployment.measurement import recorded_forecasts
from optimizer.deployment.served_files import file_problem
from optimizer.errors import ArtifactError, RunStateError, UnavailableError
from optimizer.reporting.forecast import forecast_of
from optimizer.runs.published_run import PublishedRun

Split = Mapping[str, int]
"""{run_id: percent}; empty where nothing is live, or the split cannot be deployed."""

TOP_SEGMENTS = 10

STORE_SILENT = "the object store does not answer"

_FORECASTS = {"win_rate": "expected_win_rate", "cpm": "expected_cpm", "spend_per_day": "expected_spend_per_day"}
"""Figure of a preview: its name in a run's forecast."""


class FigureRange(BaseModel):
    """An expected figure with its 95 % interval; None where it is not known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class FigureChange(BaseModel):
    """win_rate, cpm or spend_per_day, expected of the split before and after; money in currency units."""

    figure: Literal["win_rate", "cpm", "spend_per_day"]
    before: FigureRange
    after: FigureRange


class FileCheck(BaseModel):
    """Whether a bidder can load a run's files. is_loadable: None where that could not be checked."""

    run_id: str
    is_loadable: bool | None
    problem: str | None


class SegmentMove(BaseModel):
    """A segment whose served bid changes: {feature: value}, and its mean served bid before and after, CPM.

    request_share: of all requests. moved_share: of its own requests, that get another bid.
    """

    segment: dict[str, str | None]
    request_share: float
    moved_share: float
    before_cpm: float
    after_cpm: float


class ServedPreview(BaseModel):
    """How many segments get another bid for a part of their traffic, and on which share of all requests."""

    segments: int
    changed: int
    request_share: float
    largest: list[SegmentMove]


@dataclass(slots=True)
class Found:
    """What the object store has of the runs.

    files: of the runs that are to be served. problems: why a run's bids cannot be read.
    is_silent: the store did not answer, so nothing is known of the runs that are missing.
    """

    runs: dict[str, PublishedRun] = field(default_factory=dict)
    files: dict[str, FileCheck] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    is_silent: bool = False


def read_found(asked: Context, run_ids: Iterable[str], *, served: Collection[str], rows: Mapping[str, Run]) -> Found:
    """Return what the runs published; after the object store was silent once, it is not asked again."""
    found = Found()
    for run_id in run_ids:
        try:
            if not found.is_silent:
                _read_one(asked, rows[run_id], found, is_served=run_id in served)
        except UnavailableError:
            found.is_silent = True
        if run_id in served and run_id not in found.files:
            found.files[run_id] = FileCheck(run_id=run_id, is_loadable=None, problem=STORE_SILENT)
    return found


def _read_one(asked: Context, run: Run, found: Found, *, is_served: bool) -> None:
    if is_served:
        problem = file_problem(run, store=asked.systems.store)
        found.files[run.run_id] = FileCheck(run_id=run.run_id, is_loadable=problem is None, problem=problem)
    try:
        found.runs[run.run_id] = asked.published.run(run, store=asked.systems.store)
    except (ArtifactError, RunStateError) as error:
        found.problems[run.run_id] = str(error)


def read_figures(
    asked: Context, entity_code: str, splits: tuple[Split, Split], found: Found
) -> tuple[list[FigureChange], list[str]]:
    """Return the expected figures of the split before and after, and notes on what they leave out."""
    ids = {run_id for split in splits for run_id in split}
    forecasts, notes = _read_forecasts(asked, entity_code, ids, found)
    newest = sorted(found.runs.values(), key=lambda run: run.row.created_at, reverse=True)
    volumes = (forecasts[run.run_id].requests_per_day for run in newest)
    volume = next((one for one in volumes if one is not None), None)
    before, after = (
        blend_forecasts(split, forecasts, requests_per_day=volume) if split else RunForecast() for split in splits
    )
    bare = without_interval(dict.fromkeys(sorted(ids), 1), forecasts)
    if bare and any(one.win_rate.low is not None for one in (before, after)):
        notes.append(f"Run {', run '.join(bare)} has no interval and counts with its value.")
    if volume is not None:
        notes.append(f"Spend a day is for {volume:,.0f} requests a day, as the newest run forecasts them.")
    return [_figure_change(name, before, after) for name in ("win_rate", "cpm", "spend_per_day")], notes


def _read_forecasts(
    asked: Context, entity_code: str, ids: Collection[str], found: Found
) -> tuple[dict[str, RunForecast], list[str]]:
    """The runs' forecasts from their files, or else those that the monitor noted; and what is missing."""
    forecasts = {run_id: _forecast(run) for run_id, run in found.runs.items()}
    notes = [f"The bids of run {run_id} cannot be read: {why}." for run_id, why in found.problems.items()]
    missing = sorted(set(ids) - forecasts.keys())
    noted = recorded_forecasts(read_days(asked.systems.engine, entity_code)) if missing else {}
    for run_id in missing:
        if run_id in noted:
            forecasts[run_id] = RunForecast(Estimate(noted[run_id].win_rate), Estimate(noted[run_id].cpm))
        else:
            notes.append(f"The forecast of run {run_id} is not known, so the figures of a split with it are missing.")
    return forecasts, notes


def _figure_change(
    name: Literal["win_rate", "cpm", "spend_per_day"], before: RunForecast, after: RunForecast
) -> FigureChange:
    return FigureChange(figure=name, before=_range(getattr(before, name)), after=_range(getattr(after, name)))


def _range(estimate: Estimate) -> FigureRange:
    return FigureRange(value=estimate.value, low=estimate.low, high=estimate.high)


def _forecast(run: PublishedRun) -> RunForecast:
    figures = forecast_of(run.metrics)
    return RunForecast(
        **{
            name: Estimate(*(figures.get(f"{key}{end}") for end in ("", "_low", "_high")))
            for name, key in _FORECASTS.items()
        }
    )


def compare_bids(before: Split, after: Split, found: Found) -> tuple[ServedPreview | None, str | None]:
    """Return the segments whose served bid changes, or why they are not known."""
    ids = {*before, *after}
    if not before:
        return None, "Nothing is live now, so there is no bid to compare with."
    if not after:
        return None, None
    if missing := sorted(ids - found.runs.keys()):
        return None, f"The bids of run {', run '.join(missing)} cannot be read now, so they cannot be compared."
    runs = {run_id: _served_run(found.runs[run_id]) for run_id in ids}
    change = compare_served(before, after, runs, top=TOP_SEGMENTS)
    if change is None:
        return None, "The runs use other features, so their segments cannot be compared one by one."
    return _served_preview(change, runs[next(iter(ids))].features), None


def _served_run(run: PublishedRun) -> ServedRunBids:
    return ServedRunBids(run.features, run.bids, run.blocked, run.manifest.bidding.fallback_bid_cpm)


def _served_preview(found: ServedChange, features: tuple[str, ...]) -> ServedPreview:
    return ServedPreview(
        segments=found.segments,
        changed=found.changed,
        request_share=found.request_share,
        largest=[
            SegmentMove(
                segment=dict(zip(features, split_key(move.segment_key), strict=True)),
                request_share=move.request_share,
                moved_share=move.moved_share,
                before_cpm=move.before_cpm,
                after_cpm=move.after_cpm,
            )
            for move in found.largest
        ],
    )
