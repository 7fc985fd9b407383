"""A completed run or a dry run, read from its published objects: to explain its bids and to compare it with others."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from optimizer.artifacts.manifest import Manifest, read_manifest, read_verified
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import runs
from optimizer.control_plane.records import Run
from optimizer.core.checks.outcome import CheckRecord, checks_of
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_steps import RunPricing
from optimizer.core.pricing.run_comparison import BestResponse, ComparedRun, find_figure
from optimizer.core.pricing.served_changes import ServedBids
from optimizer.core.records import run_files
from optimizer.core.records.bid_figures import LinkRecord
from optimizer.core.records.config_snapshot import FrozenConfig
from optimizer.errors import AccessDenied, ArtifactError, RunStateError

NUMBER_COLUMNS = (
    "bids",
    "views",
    "clicks",
    "effective_bids",
    "model_level",
    "level_shift",
    "level_error",
    "level",
    "flatness",
    "own_share",
    "slope",
    "slope_error",
    "modelled_ctr",
    "value_cpm",
    "floor_cpm",
    "hidden_floor_cpm",
    "round_price_cpm",
    "trust_low_cpm",
    "trust_high_cpm",
    "previous_bid_cpm",
    "step_from_cpm",
    "wanted_bid_cpm",
    "planned_bid_cpm",
    "jitter",
    "suggested_bid_cpm",
    "expected_win_rate",
    "expected_margin",
    "observed_win_rate",
    "modelled_win_rate",
    "observed_ctr",
)
FLAG_COLUMNS = ("is_slope_identified", "is_held", "is_served")
TEXT_COLUMNS = ("segment_key", "reason")
"""Columns of suggested_bids.csv that an explanation is made of; an empty number is one that is not known."""

RENAMED_FIGURES = {"win_price_cpm": "shadow_price_cpm"}
"""Figures in metrics.json of earlier versions: old name, name now."""

PRICING_FIGURES = ("reference_cpm", "shadow_price_cpm", "value_trust", "step_limit", "jitter_sd", "level_correction")
"""Figures of metrics.json that all segments of a run share."""

LINK = "link"
"""Section of metrics.json with the fields of `optimizer.core.landscape.curves.Link`."""


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """A run's row and what it published, checksums verified.

    bids: suggested_bids.csv; metrics: metrics.json; config: config.json.
    blocked: keys that memcache.csv has with a bid of 0, which says not to bid.
    """

    row: Run
    manifest: Manifest
    bids: pd.DataFrame
    metrics: Mapping[str, Any]
    config: FrozenConfig
    blocked: frozenset[str]

    @property
    def run_id(self) -> str:
        return self.row.run_id

    @property
    def features(self) -> tuple[str, ...]:
        return self.manifest.bidding.features

    @property
    def settings(self) -> RunSettings:
        return self.config.settings

    @property
    def checks(self) -> tuple[CheckRecord, ...]:
        """The checks of its validation."""
        return checks_of(self.metrics)

    @property
    def pricing(self) -> RunPricing:
        """What all its segments share."""
        figures = {name: float(find_figure(self.metrics, name)) for name in PRICING_FIGURES}
        return RunPricing(settings=self.settings, **figures)

    @property
    def landscape(self) -> Landscape:
        """The win-rate curves that the run was priced on."""
        return LinkRecord.model_validate(self.metrics[LINK]).landscape(self.pricing.reference_cpm)

    @property
    def level_sd(self) -> float:
        """Standard deviation of the level of the next days, logit units; 0 for runs that did not note it."""
        return float((self.metrics.get("forecast") or {}).get("forecast_level_sd") or 0.0)

    @property
    def best_response(self) -> BestResponse:
        """How the run's rule makes a bid of level, slope and worth."""
        return best_response_of(self.settings, self.landscape)

    @property
    def served(self) -> ServedBids:
        """What bidders find of the run."""
        served = self.bids[self.bids["is_served"]]
        prices = served["suggested_bid_cpm"].astype(float)
        bids = dict(zip(served["segment_key"].tolist(), prices.tolist(), strict=True))
        return ServedBids(bids | dict.fromkeys(self.blocked, 0.0), self.manifest.bidding.fallback_bid_cpm)

    def for_comparison(self) -> ComparedRun:
        """Return the run as `compare_runs` wants it."""
        return ComparedRun(
            run_id=self.run_id,
            features=self.features,
            bids=self.bids,
            facts=self._facts(),
            metrics=self.metrics,
            config=self.config.values,
            pricing=self.pricing,
            best_response=self.best_response,
        )

    def _facts(self) -> dict[str, Any]:
        row = self.row
        window = (f"{moment:%Y-%m-%d}" if moment else "?" for moment in (row.data_start_dt, row.data_end_dt))
        return {
            "entity": self.manifest.entity_code,
            "window (UTC)": " .. ".join(window),
            "validation": row.outcome,
            "features": ", ".join(self.features),
            "total_bids": row.total_bids,
            "segments_count": row.segments_count,
            "segments_in_memcache": row.segments_in_memcache,
            "bid_median": row.bid_median,
        }


def best_response_of(settings: RunSettings, landscape: Landscape) -> BestResponse:
    """Return how the rule of these settings makes a bid of level, slope and worth."""
    if settings.win_rate_scope == "segment":
        return lambda level, slope, worth: landscape.bid_for_win_rate(level, slope, settings.target_win_rate)
    if settings.auction_type == "second_price":
        return lambda level, slope, worth: worth
    return landscape.best_response


@dataclass(frozen=True, slots=True)
class PublishedFigures:
    """The small files of a run: its manifest, metrics.json and config.json, checksums verified."""

    output_uri: str
    manifest: Manifest
    metrics: Mapping[str, Any]
    config: FrozenConfig


def read_published(run_id: str, *, engine: Engine, store: ObjectStore) -> PublishedRun:
    """Return the run with its published bids, figures and configuration.

    Raises:
        RunStateError: the run does not exist, is neither completed nor a finished dry run, or its files were removed.
        ArtifactError: an object is missing, changed, or lacks what the run's bids are explained with.
    """
    row = runs.read_run(engine, run_id)
    return load_published(row, load_figures(row, store=store), store=store)


def load_figures(row: Run, *, store: ObjectStore) -> PublishedFigures:
    """Return the small files of the run, without its bids; older versions may lack figures.

    Raises:
        RunStateError, ArtifactError: as `read_published`.
    """
    output_uri = output_uri_of(row)
    with _naming(row):
        manifest = read_manifest(store, output_uri, checksum=row.manifest_sha256)
        metrics, config = (
            read_verified(store, output_uri=output_uri, manifest=manifest, name=name)
            for name in (run_files.METRICS, run_files.CONFIG)
        )
    return PublishedFigures(
        output_uri, manifest, _with_present_names(json.loads(metrics)), FrozenConfig.model_validate_json(config)
    )


def load_published(row: Run, figures: PublishedFigures, *, store: ObjectStore) -> PublishedRun:
    """Return the run with its bids and the figures that `load_figures` read.

    Raises:
        ArtifactError: as `read_published`.
    """
    metrics, manifest = figures.metrics, figures.manifest
    missing = [name for name in PRICING_FIGURES if find_figure(metrics, name) is None]
    missing += [LINK] if LINK not in metrics else []
    if missing:
        raise _too_old(row.run_id, run_files.METRICS, missing)
    with _naming(row):
        bids, memcache = (
            read_verified(store, output_uri=figures.output_uri, manifest=manifest, name=name)
            for name in (run_files.SUGGESTED_BIDS_CSV, run_files.MEMCACHE_CSV)
        )
    return PublishedRun(row, manifest, _read_bids(bids, manifest), metrics, figures.config, _read_blocked(memcache))


def load_multipliers(row: Run, figures: PublishedFigures, name: str, *, store: ObjectStore) -> pd.DataFrame:
    """Return multiplier and bids of a published table of multipliers, without what they are multipliers of.

    Raises:
        ArtifactError: the run has no such file, or it is missing or changed.
    """
    with _naming(row):
        content = read_verified(store, output_uri=figures.output_uri, manifest=figures.manifest, name=name)
    return pd.read_csv(io.BytesIO(content), usecols=["multiplier", "bids"])


@contextmanager
def _naming(row: Run) -> Iterator[None]:
    """Name the run where an object cannot be read."""
    try:
        yield
    except AccessDenied:
        raise
    except ArtifactError as error:
        raise ArtifactError(f"run {row.run_id}: {error}; restore the objects, or look at another run") from error


def _with_present_names(metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures of metrics.json under the names that they have now, whenever the run was made."""
    return {
        section: {RENAMED_FIGURES.get(name, name): value for name, value in figures.items()}
        if isinstance(figures, dict)
        else figures
        for section, figures in metrics.items()
    }


def output_uri_of(row: Run) -> str:
    """Return where the run's published files are.

    Raises:
        RunStateError: it is neither completed nor a finished dry run, or its files were removed.
    """
    if row.status in ("pending", "running"):
        raise RunStateError(f"run {row.run_id} is {row.status} and has no bids yet; wait until it is completed")
    if row.outputs_removed_at is not None:
        raise RunStateError(
            f"run {row.run_id}: its files were removed on {row.outputs_removed_at:%Y-%m-%d} (`optimizer retention`); "
            "look at a later run"
        )
    if row.status != "completed" and not row.is_finished_dry_run:
        raise RunStateError(
            f"run {row.run_id} is {row.status} and has no bids ({row.error_message or 'no message'}); "
            "`optimizer runs` lists the completed ones"
        )
    if not row.s3_output_path:
        raise RunStateError(f"run {row.run_id} is completed but names no outputs; `optimizer runs` lists other runs")
    return row.s3_output_path


def _read_bids(content: bytes, manifest: Manifest) -> pd.DataFrame:
    columns = pd.read_csv(io.BytesIO(content), nrows=0).columns
    missing = [name for name in (*TEXT_COLUMNS, *NUMBER_COLUMNS, *FLAG_COLUMNS) if name not in columns]
    if missing:
        raise _too_old(manifest.run_id, run_files.SUGGESTED_BIDS_CSV, missing)
    texts = [*TEXT_COLUMNS, *manifest.bidding.features]
    return pd.read_csv(
        io.BytesIO(content),
        dtype={**dict.fromkeys(texts, str), **dict.fromkeys(FLAG_COLUMNS, bool)},
        keep_default_na=False,
        na_values={name: [""] for name in NUMBER_COLUMNS},
    )


def _read_blocked(content: bytes) -> frozenset[str]:
    memcache = pd.read_csv(io.BytesIO(content), dtype={"segment_key": str}, keep_default_na=False)
    return frozenset(memcache.loc[memcache["bid"] == 0, "segment_key"])


def _too_old(run_id: str, name: str, missing: list[str]) -> ArtifactError:
    return ArtifactError(
        f"run {run_id}: its {name} lacks {', '.join(missing)}, as an older version of the optimizer left it; "
        "run the entity again and look at the new run"
    )
