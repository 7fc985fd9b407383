"""Runs with many segments in an object store, priced and published as the steps of a run do it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine

from lab.benchmarks.console.fleet import Fleet
from lab.benchmarks.what_if import make_learned
from optimizer.artifacts.manifest import publish
from optimizer.artifacts.store import ObjectStore, split_uri
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.records import Run
from optimizer.control_plane.run_views import newest_comparable
from optimizer.control_plane.runs import read_run
from optimizer.core.config.merge import merge_config
from optimizer.core.config.settings import RunSettings, config_catalogue
from optimizer.core.records import run_files
from optimizer.core.records.config_snapshot import ConfigSnapshot, RunInputs
from optimizer.reporting.forecast import FORECAST_KEYS
from optimizer.runs.learned import ActiveBids, Learned
from optimizer.runs.outputs import MULTIPLIER_COLUMNS, memcache_table, suggested_bids_table, write_csv
from optimizer.runs.pricing import PricedRun, price_run
from optimizer.runs.pricing_inputs import stage_pricing_inputs
from optimizer.runs.published_run import output_uri_of
from optimizer.runs.staging import Staging

VALUES = {"npi_enabled": True, "max_bid_cpm": 50.0}
SECTIONS = {
    "bidding": ("shadow_price_cpm", "value_trust", "step_limit", "jitter_sd", "level_correction", "row_coverage"),
    "forecast": (*FORECAST_KEYS, "forecast_level_sd"),
}
"""Section of metrics.json: those of its figures that the pages read."""


@dataclass(frozen=True, slots=True)
class PublishedFleetRuns:
    """Two runs of the fleet's example client whose files can be read: the live one and the one before it."""

    later: str
    earlier: str


def publish_runs(engine: Engine, store: ObjectStore, fleet: Fleet, *, segments: int) -> PublishedFleetRuns:
    """Publish files with that many segments for the example client's live run, the one before it, and its control."""
    later, earlier = newest_comparable(engine, fleet.example, limit=2)
    control_id = read_definition(engine, fleet.example).entity.control_run_id
    control = read_run(engine, control_id or "")
    market = BigRuns.of(store, segments=segments)
    for row, target in ((later, 0.3), (earlier, 0.33), (control, 0.27)):
        market.publish(row, entity_code=fleet.example, target_win_rate=target)
    return PublishedFleetRuns(later.run_id, earlier.run_id)


@dataclass(frozen=True, slots=True)
class BigRuns:
    """Publishes runs of one market. learned, active: what training left, and what the live run bids."""

    store: ObjectStore
    learned: Learned
    active: ActiveBids

    @classmethod
    def of(cls, store: ObjectStore, *, segments: int) -> "BigRuns":
        """Return a market with that many segments."""
        learned, active = make_learned(segments)
        table = learned.segments
        known = {"effective_bids": table["bids"], "model_level": table["level"]}
        recent = {"recent_bids": table["bids"], "recent_wins": table["wins"]}
        return cls(store, replace(learned, segments=table.assign(**known, **recent)), active)

    def publish(self, row: Run, *, entity_code: str, target_win_rate: float) -> None:
        """Price the run for a target, and write its files to where its row says."""
        values = VALUES | {"target_win_rate": target_win_rate}
        config = merge_config(config_catalogue(), entity_code=entity_code, entity_values={}, run_values=values)
        settings = RunSettings.model_validate(config.values)
        priced = price_run(self.learned, settings=settings, active=self.active, run_id=row.run_id)
        with TemporaryDirectory(prefix="optimizer-bench-") as name:
            folder = Path(name)
            paths = [*self._write_tables(folder, row, priced)]
            for file, content in (
                (run_files.METRICS, _metrics(priced, self.learned)),
                (run_files.CONFIG, ConfigSnapshot.of(config, inputs=_inputs(row, entity_code)).to_json()),
            ):
                paths.append(folder / file)
                paths[-1].write_text(json.dumps(content))
            publish(
                self.store,
                output_uri=output_uri_of(row),
                files={path.name: (path.stem, path, None) for path in paths},
                header=_header(row, entity_code, self.learned, priced),
                still_wanted=lambda: None,
            )

    def _write_tables(self, folder: Path, row: Run, priced: PricedRun) -> Iterator[Path]:
        bids = suggested_bids_table(priced.bids, self.learned.features)
        yield write_csv(folder / run_files.SUGGESTED_BIDS_CSV, bids)
        yield write_csv(folder / run_files.MEMCACHE_CSV, memcache_table(priced.bids))
        if priced.npis is not None:
            yield write_csv(folder / run_files.NPIS_CSV, priced.npis[["npi", *MULTIPLIER_COLUMNS]])
        stage = Staging(self.store, f"s3://{split_uri(output_uri_of(row))[0]}/staging/{row.run_id}/")
        stage_pricing_inputs(stage, self.learned, self.active)
        yield from (stage.get_file(name, folder / name) for name in run_files.PRICING_FILES)


def _header(row: Run, entity_code: str, learned: Learned, priced: PricedRun) -> dict[str, Any]:
    bidding = {
        "features": learned.features,
        "macro_combination": "|".join(f"[{feature}]" for feature in learned.features),
        "macro_format": "adx",
        "fallback_bid_cpm": priced.figures.fallback_bid_cpm,
        "max_bid_cpm": VALUES["max_bid_cpm"],
    }
    names = {"run_id": row.run_id, "run_code": row.run_code, "entity_code": entity_code}
    return {**names, "created_at": row.created_at, "bidding": bidding}


def _inputs(row: Run, entity_code: str) -> RunInputs:
    return RunInputs(
        entity_code=entity_code,
        object_id=1,
        version_code="v3",
        active_run_id=None,
        recent_bids_per_day=(),
        data_start_dt=row.data_start_dt or row.created_at,
        data_end_dt=row.data_end_dt or row.created_at,
        feature_macros=(),
    )


def _metrics(priced: PricedRun, learned: Learned) -> dict[str, Any]:
    figures = priced.figures.model_dump(mode="json")
    sections = {name: {key: figures.get(key) for key in keys} for name, keys in SECTIONS.items()}
    landscape = {"reference_cpm": learned.report.reference_cpm}
    return {
        **sections,
        "bid_landscape": landscape,
        "link": figures["link"],
        "reasons": figures["reasons"],
        "checks": [],
    }
