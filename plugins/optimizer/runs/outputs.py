"""The files of a run, written from what its steps staged."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from optimizer.artifacts.manifest import MANIFEST_NAME, Manifest
from optimizer.artifacts.store import ObjectStore, split_uri
from optimizer.control_plane.registry import MANIFEST_TYPE
from optimizer.core.records import run_files
from optimizer.reporting.report_data import LiveComparison, RunStory
from optimizer.runs.metrics import metrics_document
from optimizer.runs.report_inputs import gather_story
from optimizer.runs.staged_run import StagedRun

BID_COLUMNS = {
    "suggested_bid_cpm": "suggested_bid_cpm",
    "planned_bid_cpm": "planned_bid_cpm",
    "jitter": "jitter",
    "bids": "bids",
    "wins": "views",
    "clicks": "clicks",
    "observed_win_rate": "observed_win_rate",
    "modelled_win_rate": "modelled_win_rate",
    "observed_ctr": "observed_ctr",
    "click_rate": "modelled_ctr",
    "expected_win_rate": "expected_win_rate",
    "expected_margin": "expected_margin",
    "reason": "reason",
    "is_served": "is_served",
    "effective_bids": "effective_bids",
    "model_level": "model_level",
    "level_shift": "level_shift",
    "level_error": "level_error",
    "own_share": "own_share",
    "level": "level",
    "flatness": "flatness",
    "slope": "slope",
    "slope_error": "slope_error",
    "is_slope_identified": "is_slope_identified",
    "is_held": "is_held",
    "value_cpm": "value_cpm",
    "expected_cost_cpm": "expected_cost_cpm",
    "floor_cpm": "floor_cpm",
    "hidden_floor_cpm": "hidden_floor_cpm",
    "round_price_cpm": "round_price_cpm",
    "usual_bid_cpm": "usual_bid_cpm",
    "recent_bids": "recent_bids",
    "recent_wins": "recent_views",
    "previous_bid_cpm": "previous_bid_cpm",
    "step_from_cpm": "step_from_cpm",
    "requests": "requests",
    "trust_low_cpm": "trust_low_cpm",
    "trust_high_cpm": "trust_high_cpm",
    "wanted_bid_cpm": "wanted_bid_cpm",
}
"""Column of the bid table: column of suggested_bids.csv."""

AS_STAGED = (
    run_files.WIN_MODEL,
    run_files.CLICK_MODEL,
    *run_files.PRICING_FILES,
)
"""Staged files that are published as they are, where the run has them."""

MULTIPLIER_COLUMNS = ["multiplier", "bids", "views", "clicks"]


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file on this machine that will become an object of the run."""

    output_type: str
    path: Path
    row_count: int | None


def write_outputs(
    folder: Path, run: StagedRun, *, started_at: datetime, live: LiveComparison | None = None
) -> dict[str, OutputFile]:
    """Write every file of the run to the folder and return them by name.

    Args:
        live: how the run compares with what is live, for its report.
    """
    bids = run.stage.get_frame(run_files.BIDS)
    files = [
        _csv(folder / run_files.SUGGESTED_BIDS_CSV, suggested_bids_table(bids, run.selection.features)),
        _csv(folder / run_files.MEMCACHE_CSV, memcache_table(bids)),
    ]
    for is_enabled, staged, name, key in (
        (run.settings.domain_enabled, run_files.DOMAINS, run_files.DOMAINS_CSV, "domain"),
        (run.settings.npi_enabled, run_files.NPIS, run_files.NPIS_CSV, "npi"),
    ):
        if is_enabled:
            files.append(_csv(folder / name, run.stage.get_frame(staged)[[key, *MULTIPLIER_COLUMNS]]))
    files.append(_json(folder / run_files.METRICS, metrics_document(run)))
    files.append(_json(folder / run_files.CONFIG, run.snapshot.to_json()))
    files.append(_report(folder / run_files.REPORT, gather_story(run, bids=bids, started_at=started_at, live=live)))
    for name in AS_STAGED:
        if run.stage.has(name):
            files.append(OutputFile(Path(name).stem, run.stage.get_file(name, folder / name), None))
    return {file.path.name: file for file in files}


def suggested_bids_table(bids: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return suggested_bids.csv of a bid table: the segments with a bid, the most bids first."""
    biddable = bids[bids["suggested_bid_cpm"].notna()].sort_values("bids", ascending=False, kind="stable")
    return published_columns(biddable)[["segment_key", *features, *BID_COLUMNS.values()]]


def published_columns(bids: pd.DataFrame) -> pd.DataFrame:
    """Return a bid table with the column names of suggested_bids.csv."""
    return bids.rename(columns=BID_COLUMNS)


def memcache_table(bids: pd.DataFrame) -> pd.DataFrame:
    """Return what the bidder looks up; a bid of 0 says: do not bid."""
    known = bids[bids["is_served"] | bids["is_blocked"]].sort_values("bids", ascending=False, kind="stable")
    return pd.DataFrame({"segment_key": known["segment_key"], "bid": known["suggested_bid_cpm"].fillna(0)})


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Write the table as the run's CSV files are written, and return the path."""
    # Before 3.13, Python leaves a lone carriage return unquoted, and readers take it for the end of the row.
    texts = table.select_dtypes(["object", "string"]).astype(str)
    has_return = any(texts[name].str.contains("\r", regex=False).any() for name in texts)
    quoting: Literal[0, 1] = csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
    table.to_csv(path, index=False, lineterminator="\n", float_format="%.10g", quoting=quoting)
    return path


def _csv(path: Path, table: pd.DataFrame) -> OutputFile:
    return OutputFile(path.stem, write_csv(path, table), len(table))


def _report(path: Path, story: RunStory) -> OutputFile:
    # Matplotlib takes a second to load, which no other step should wait for.
    from optimizer.reporting.page import render_report

    path.write_text(render_report(story), encoding="utf-8")
    return OutputFile(path.stem, path, None)


def _json(path: Path, content: Any) -> OutputFile:
    path.write_text(json.dumps(content, indent=2, allow_nan=False))
    return OutputFile(path.stem, path, None)


def output_rows(manifest: Manifest, *, output_uri: str, store: ObjectStore) -> list[dict[str, Any]]:
    """Return the rows of opt_run_outputs: each object of the manifest, and the manifest itself."""
    bucket, prefix = split_uri(output_uri)
    rows = [
        {
            "output_type": item.output_type,
            "s3_bucket": bucket,
            "s3_key": prefix + item.name,
            "row_count": item.row_count,
            "byte_count": item.byte_count,
            "sha256": item.sha256,
        }
        for item in manifest.objects
    ]
    stored = store.describe(output_uri + MANIFEST_NAME)
    rows.append(
        {
            "output_type": MANIFEST_TYPE,
            "s3_bucket": stored.bucket,
            "s3_key": stored.key,
            "row_count": len(manifest.objects),
            "byte_count": stored.byte_count,
            "sha256": stored.sha256,
        }
    )
    return rows
