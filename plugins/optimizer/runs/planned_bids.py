"""What earlier runs planned to bid before jitter: the centre from which their bids were varied at random."""

import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from optimizer.artifacts.manifest import read_manifest, read_verified
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import runs
from optimizer.core.frames import groups_of
from optimizer.core.landscape.cells import MISSING, know_planned
from optimizer.core.pricing.forecast import EarlierForecast
from optimizer.core.records import run_files
from optimizer.core.records.earlier_run import EarlierFigures
from optimizer.core.serving.keys import segment_key
from optimizer.errors import ArtifactError, RunStateError
from optimizer.runs import staging
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)


STEP_FROM = "step_from_cpm"
KEYED = ("segment_key", "planned_bid_cpm", "suggested_bid_cpm", STEP_FROM, "wanted_bid_cpm", "is_held")


@dataclass(frozen=True, slots=True)
class PlannedBids:
    """Features of a run's key, in order, its planned bid of each served key and of all others, CPM, and its figures.

    step_from_cpm: the bid of each served key that the next run's daily step is measured from: what this run serves or,
        for a second run of one calendar day, what was served before this one; the planned bids by default.
    kept_cpm: what each bid goes back to while it is held: a held bid that the daily step moves for a day, as jitter
        takes it far, would else wander off; the planned bids by default.
    """

    features: tuple[str, ...]
    planned_cpm: Mapping[str, float]
    fallback_cpm: float
    figures: EarlierFigures = field(default_factory=EarlierFigures)
    step_from_cpm: Mapping[str, float] = field(default_factory=dict)
    kept_cpm: Mapping[str, float] = field(default_factory=dict)


def read_planned_bids(run_id: str, systems: Systems, *, next_run_id: str | None = None) -> PlannedBids:
    """Return what the run planned.

    Args:
        next_run_id: the run that moves on from it; one that started on the same calendar day (UTC) takes its daily step
            from where this run took it, so that several runs a day move a bid no further than one.

    Raises:
        RunStateError: the run does not exist, or wrote no outputs.
        ArtifactError: its bids are missing, changed or have other columns.
    """
    next_start = None if next_run_id is None else runs.read_run(systems.engine, next_run_id).started_at
    return read_plan(run_id, engine=systems.engine, store=systems.store, next_start=next_start)


def read_plan(run_id: str, *, engine: Engine, store: ObjectStore, next_start: datetime | None) -> PlannedBids:
    """Return `read_planned_bids` for a next run that starts at that time; None where there is no next run.

    Raises:
        RunStateError, ArtifactError: as `read_planned_bids`.
    """
    row = runs.read_run(engine, run_id)
    output_uri = row.s3_output_path
    if output_uri is None:
        raise RunStateError(f"run {run_id} has no outputs")
    manifest = read_manifest(store, output_uri, checksum=row.manifest_sha256)
    bids, memcache, metrics = (
        read_verified(store, output_uri=output_uri, manifest=manifest, name=name)
        for name in (run_files.SUGGESTED_BIDS_CSV, run_files.MEMCACHE_CSV, run_files.METRICS)
    )
    try:
        lacking = [name for name in KEYED[:3] if name not in pd.read_csv(io.BytesIO(bids), nrows=0)]
        if lacking:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        table = pd.read_csv(io.BytesIO(bids), usecols=KEYED.__contains__, dtype={"segment_key": str}, na_values=[""],
            keep_default_na=False)  # fmt: skip
        served = pd.read_csv(io.BytesIO(memcache), usecols=["segment_key"], dtype=str, keep_default_na=False)
        table = table[table["segment_key"].isin(served["segment_key"])]
        keys = table["segment_key"].tolist()
        planned = dict(zip(keys, table["planned_bid_cpm"].astype(float).tolist(), strict=True))
        rule = manifest.bidding
        start = STEP_FROM if is_same_day(row.started_at, next_start) and STEP_FROM in table else "suggested_bid_cpm"
        step_from = dict(zip(keys, table[start].astype(float).tolist(), strict=True))
        kept = kept_bids(table) if {"wanted_bid_cpm", "is_held"} <= set(table) else {}
        figures = EarlierFigures.of(json.loads(metrics))
        return PlannedBids(tuple(rule.features), planned, rule.fallback_bid_cpm, figures, step_from, kept)
    except ValueError as error:
        raise ArtifactError(
            f"{run_files.SUGGESTED_BIDS_CSV} or {run_files.METRICS} of run {run_id} cannot be read: {error}"
        ) from error


def kept_bids(bids: pd.DataFrame) -> dict[str, float]:
    """Return `PlannedBids.kept_cpm` of a bid table."""
    kept = bids["planned_bid_cpm"].mask(bids["is_held"].astype(bool), bids["wanted_bid_cpm"]).astype(float)
    return dict(zip(bids["segment_key"].tolist(), kept.tolist(), strict=True))


def is_same_day(start: datetime | None, next_start: datetime | None) -> bool:
    """Return whether two runs start on one calendar day (UTC), so that their bids move no further than one run's."""
    return start is not None and next_start is not None and start.date() == next_start.date()


def previous_bids(
    active: PlannedBids,
    cells: pd.DataFrame,
    features: Sequence[str],
    *,
    bids_cpm: Mapping[str, float] | None = None,
) -> dict[str, float] | None:
    """Return what the active run plans on each segment of these features, CPM; None where its key cannot be built.

    A segment that it does not serve has its fallback. Where it has another key, a segment has the request-weighted
    (geometric) mean of the bids on its parts.

    Args:
        cells: prepared, with every candidate feature.
        bids_cpm: other bids of its keys than the planned ones.
    """
    both = list(dict.fromkeys([*active.features, *features]))
    if not set(both) <= set(cells.columns):
        return None
    parts = cells.groupby(both, observed=True)["bids"].sum().reset_index()
    known = dict(active.planned_cpm if bids_cpm is None else bids_cpm)
    planned = _keys(parts, active.features).map(known).astype(float).fillna(active.fallback_cpm)
    weighed = pd.DataFrame({"log": np.log(planned) * parts["bids"], "bids": parts["bids"]})
    sums = weighed.groupby(_keys(parts, features).to_numpy()).sum()
    means = pd.Series(np.exp(sums["log"] / sums["bids"])).to_dict()
    return {str(key): cpm for key, cpm in means.items()}


def _keys(parts: pd.DataFrame, features: Sequence[str]) -> pd.Series:
    values = parts[list(features)].astype(object)
    rows = values.where(values != MISSING, None).itertuples(index=False, name=None)
    return pd.Series([segment_key(row) for row in rows], index=parts.index)


def stage_planned_bids(
    run_ids: Iterable[str], *, stage: staging.Staging, systems: Systems
) -> tuple[dict[str, tuple[str, ...]], dict[str, EarlierForecast]]:
    """Leave the planned bids of these runs in the staging prefix; return the features and the forecast of each.

    A run that cannot be read is left out: its bids' moves are then measured from their own mean.
    """
    parts: list[pd.DataFrame] = []
    features: dict[str, tuple[str, ...]] = {}
    forecasts: dict[str, EarlierForecast] = {}
    for run_id in sorted(run_ids):
        try:
            planned = read_planned_bids(run_id, systems)
        except (ArtifactError, RunStateError) as error:
            log.info("the planned bids of run %s are not known: %s", run_id, error)
            continue
        features[run_id] = planned.features
        if (forecast := planned.figures.forecast) is not None:
            forecasts[run_id] = forecast
        keys, bids = list(planned.planned_cpm), list(planned.planned_cpm.values())
        parts.append(pd.DataFrame({"run_id": run_id, "segment_key": keys, "planned_bid_cpm": bids}))
    if parts:
        stage.put_frame(run_files.PLANNED_BIDS, pd.concat(parts, ignore_index=True))
    return features, forecasts


def with_planned_bids(
    cells: pd.DataFrame, *, features_by_run: Mapping[str, Sequence[str]], stage: staging.Staging
) -> pd.DataFrame:
    """Return prepared cells with `log_planned` where the run that bid them is known."""
    if not features_by_run:
        return cells
    for run_id, table in groups_of(stage.get_frame(run_files.PLANNED_BIDS), "run_id"):
        if unknown := sorted(set(features_by_run[run_id]) - set(cells.columns)):
            log.info("the key of run %s has %s, no candidate now: its plan is not known", run_id, ", ".join(unknown))
            continue
        planned = dict(zip(table["segment_key"], table["planned_bid_cpm"], strict=True))
        cells = know_planned(cells, run_id=run_id, features=features_by_run[run_id], planned_cpm=planned)
    return cells
