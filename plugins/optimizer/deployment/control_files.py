"""The files of an entity's control: the usual bids of the log that its first run learned from."""

import json
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from optimizer.artifacts.manifest import publish
from optimizer.control_plane import registry
from optimizer.control_plane.audit import Author
from optimizer.core.pricing.bid_bounds import CENT
from optimizer.core.records import run_files
from optimizer.runs.metrics import metrics_document
from optimizer.runs.outputs import memcache_table, output_rows, suggested_bids_table, write_csv
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.systems import Systems

CONTROL_PREFIX = "control_"
"""The run_id of a control is this and the run_id of the run that it was made from."""


def usual_bids(bids: pd.DataFrame, *, run: StagedRun) -> pd.DataFrame:
    """Return a run's bid table with the usual bids in place of its own, in whole cents, and what they let expect."""
    usual = (bids["usual_bid_cpm"] / CENT).round().clip(lower=1) * CENT
    level, slope = bids["level"].to_numpy(float), bids["slope"].to_numpy(float)
    price = usual.to_numpy(float)
    cost = run.landscape.mean_price(level, slope, price) if run.settings.auction_type == "second_price" else price
    return bids.assign(
        suggested_bid_cpm=usual,
        planned_bid_cpm=usual,
        wanted_bid_cpm=usual,
        jitter=1.0,
        is_served=True,
        is_blocked=False,
        is_held=True,
        reason="held",
        expected_win_rate=run.landscape.win_rate(level, slope, price),
        expected_cost_cpm=cost,
        expected_margin=1 - cost / bids["value_cpm"],
    )


def publish_control(run: StagedRun, *, systems: Systems, author: Author, now: datetime) -> str:
    """Write the control's files next to those of the run that it is made from, register it, and return its run_id."""
    bids = usual_bids(run.stage.get_frame(run_files.BIDS), run=run)
    handle, run_id = run.handle, CONTROL_PREFIX + run.handle.run_id
    output_uri = f"{handle.output_uri.rstrip('/').rpartition('/')[0]}/{run_id}/"
    with TemporaryDirectory(prefix="optimizer-") as name:
        folder = Path(name)
        files = _write(folder, run, bids)
        manifest = publish(
            systems.store,
            output_uri=output_uri,
            files=files,
            header={
                "run_id": run_id,
                "run_code": run_id,
                "entity_code": handle.entity_code,
                "created_at": now,
                "bidding": {
                    "features": run.selection.features,
                    **run.snapshot.inputs.key_template(run.selection.features),
                    "fallback_bid_cpm": _fallback(bids, cap_cpm=run.settings.max_bid_cpm),
                    "max_bid_cpm": run.settings.max_bid_cpm,
                },
            },
            still_wanted=lambda: None,
        )
    return registry.register_control(
        systems.engine,
        handle.run_id,
        control_run_id=run_id,
        output_uri=output_uri,
        outputs=output_rows(manifest, output_uri=output_uri, store=systems.store),
        author=author,
        now=now,
    )


def _write(folder: Path, run: StagedRun, bids: pd.DataFrame) -> dict[str, tuple[str, Path, int | None]]:
    tables = {
        run_files.SUGGESTED_BIDS_CSV: suggested_bids_table(bids, run.selection.features),
        run_files.MEMCACHE_CSV: memcache_table(bids),
    }
    documents = {run_files.METRICS: _metrics(run, bids), run_files.CONFIG: run.snapshot.to_json()}
    written: dict[str, tuple[str, Path, int | None]] = {}
    for name, table in tables.items():
        written[name] = (Path(name).stem, write_csv(folder / name, table), len(table))
    for name, document in documents.items():
        path = folder / name
        path.write_text(json.dumps(document, indent=2, allow_nan=False))
        written[name] = (Path(name).stem, path, None)
    return written


def _metrics(run: StagedRun, bids: pd.DataFrame) -> dict[str, Any]:
    """The figures of the run's models, with those of the usual bids; checks and forecasts were of other bids."""
    document = metrics_document(run)
    requests, won = bids["requests"], bids["requests"] * bids["expected_win_rate"]
    figures = {
        "shadow_price_cpm": 0.0,
        "jitter_sd": 0.0,
        "segments_in_memcache": len(bids),
        "fallback_bid_cpm": _fallback(bids, cap_cpm=run.settings.max_bid_cpm),
        "expected_win_rate": _ratio(won.sum(), requests.sum()),
        "expected_cpm": _ratio((won * bids["expected_cost_cpm"]).sum(), won.sum()),
        "expected_margin": None,
        "target_shortfall": None,
        "segment_scope_cpm_ratio": None,
    }
    kept = {name: document[name] for name in ("bid_landscape", "global_stats", "data", "link", "features")}
    return {**kept, "bidding": {**document["bidding"], **figures}, "reasons": {}, "checks": []}


def _fallback(bids: pd.DataFrame, *, cap_cpm: float) -> float:
    """The bid on segments that were never seen: the mean usual bid by requests, in whole cents."""
    weights = bids["requests"].to_numpy(float)
    mean = float(np.average(bids["usual_bid_cpm"], weights=weights if weights.sum() > 0 else None))
    return min(round(mean / CENT) * CENT, cap_cpm)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None
