"""What a run was priced from, published with it, so that other settings can be priced later without training."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
from pydantic import BaseModel, ConfigDict, TypeAdapter

from optimizer.core.pricing.multipliers import EFFECT_COLUMNS
from optimizer.core.records import run_files
from optimizer.runs.artifacts import JsonArtifact
from optimizer.runs.learned import ActiveBids, Learned
from optimizer.runs.priceable import segment_keys
from optimizer.runs.staging import Staging
from optimizer.training.job import TrainingReport

ACTIVE_COLUMNS = {
    "planned_cpm": "active_planned_cpm",
    "step_from_cpm": "active_step_from_cpm",
    "kept_cpm": "active_kept_cpm",
}
"""Field of `ActiveBids`: column of pricing_segments.parquet, CPM; NaN where the active run has no bid of the key."""

KIND = "kind"
"""Column of pricing_multipliers.parquet: `domain` or `npi`."""


class PricingInputs(BaseModel):
    """pricing_inputs.json: the part of `Learned` and `ActiveBids` that is not a table.

    report: of training, without its samples. active_fallback_cpm: None where the run had no active run to step from.
    """

    model_config = ConfigDict(frozen=True)

    features: tuple[str, ...]
    report: TrainingReport
    total_clicks: int
    level_correction: float
    active_fallback_cpm: float | None


PRICING_INPUTS = JsonArtifact(run_files.PRICING_INPUTS, TypeAdapter(PricingInputs))


def stage_pricing_inputs(stage: Staging, learned: Learned, active: ActiveBids | None) -> None:
    """Leave what the run is priced from in the staging prefix, without the name of any domain or professional."""
    record = PricingInputs(
        features=tuple(learned.features),
        report=learned.report.model_copy(update={"held_out": [], "tuning": None}),
        total_clicks=learned.total_clicks,
        level_correction=learned.level_correction,
        active_fallback_cpm=None if active is None else active.fallback_cpm,
    )
    PRICING_INPUTS.write(stage, record)
    stage.put_frame(run_files.PRICING_SEGMENTS, _with_active(learned, active))
    if (multipliers := _multiplier_table(learned)) is not None:
        stage.put_frame(run_files.PRICING_MULTIPLIERS, multipliers)


def read_pricing_inputs(files: Mapping[str, bytes], *, where: str) -> tuple[Learned, ActiveBids | None]:
    """Return what the run was priced from.

    Args:
        files: the content of `run_files.PRICING_FILES` by name; a run without multipliers has none of them.
        where: names the run's record in errors.

    Raises:
        ArtifactError: pricing_inputs.json is of a later version, or is not such a record.
    """
    record = PRICING_INPUTS.parse(json.loads(files[run_files.PRICING_INPUTS]), where=where)
    table = pd.read_parquet(io.BytesIO(files[run_files.PRICING_SEGMENTS]))
    found = files.get(run_files.PRICING_MULTIPLIERS)
    multipliers = None if found is None else pd.read_parquet(io.BytesIO(found))
    learned = Learned(
        segments=table.drop(columns=[*ACTIVE_COLUMNS.values()]),
        report=record.report,
        features=record.features,
        domains=_of_kind(multipliers, "domain"),
        npis=_of_kind(multipliers, "npi"),
        total_clicks=record.total_clicks,
        level_correction=record.level_correction,
    )
    if record.active_fallback_cpm is None:
        return learned, None
    keys = table["segment_key"]
    bids = {field: _known(keys, table[column]) for field, column in ACTIVE_COLUMNS.items()}
    return learned, ActiveBids(fallback_cpm=record.active_fallback_cpm, **bids)


def _with_active(learned: Learned, active: ActiveBids | None) -> pd.DataFrame:
    known = ActiveBids({}, {}, fallback_cpm=0.0) if active is None else active
    complete = replace(known, kept_cpm=known.planned_cpm if known.kept_cpm is None else known.kept_cpm)
    keys = segment_keys(learned)
    bids = {column: keys.map(dict(getattr(complete, field))).astype(float) for field, column in ACTIVE_COLUMNS.items()}
    return learned.segments.assign(segment_key=keys, **bids)


def _multiplier_table(learned: Learned) -> pd.DataFrame | None:
    """Effects of domains and professionals without their names: they are sorted by their values alone."""
    tables = [
        table[list(EFFECT_COLUMNS)].assign(kind=kind)
        for kind, table in (("domain", learned.domains), ("npi", learned.npis))
        if table is not None
    ]
    return pd.concat(tables, ignore_index=True) if tables else None


def _of_kind(multipliers: pd.DataFrame | None, kind: str) -> pd.DataFrame | None:
    """The effects of this kind; a row's number is its name."""
    if multipliers is None or not (multipliers[KIND] == kind).any():
        return None
    rows = multipliers[multipliers[KIND] == kind].drop(columns=KIND).reset_index(drop=True)
    return rows.assign(**{kind: rows.index})


def _known(keys: pd.Series, bids_cpm: pd.Series) -> dict[str, float]:
    has_bid = bids_cpm.notna()
    return dict(zip(keys[has_bid].tolist(), bids_cpm[has_bid].tolist(), strict=True))
