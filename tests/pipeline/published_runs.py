"""Completed runs with published objects, made of tables that were priced with known numbers."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from control_plane.catalog import NOW, open_sample, sample_results, start_sample
from core.priced_runs import FEATURES, PricedRun
from sqlalchemy import Engine

from optimizer.artifacts.manifest import publish
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.registry import register_results

Files = dict[str, tuple[str, Path, int | None]]


def publish_run(
    priced: PricedRun,
    *,
    engine: Engine,
    store: ObjectStore,
    base_uri: str,
    folder: Path,
    now: datetime = NOW,
    features: tuple[str, ...] = FEATURES,
    change: Callable[[Files], Any] = lambda files: None,
) -> str:
    """Open, start, publish and register a run of drugs_hcp, and return its run_id.

    Args:
        change: what is done to the files before they are published.
    """
    snapshot = snapshot_of(priced)
    run_id = open_sample(engine, f"published {now}", now=now).run_id
    start_sample(engine, run_id, config_snapshot=snapshot)
    files = write_files(priced, folder, snapshot)
    change(files)
    output_uri = f"{base_uri}{run_id}/"
    publish(
        store,
        output_uri=output_uri,
        files=files,
        header={
            "run_id": run_id,
            "run_code": run_id,
            "entity_code": "drugs_hcp",
            "created_at": now,
            "bidding": {
                "features": list(features),
                "macro_combination": "[ADX_PLACEMENT_ID]|[ADX_GEO_STATE]",
                "macro_format": "adx",
                "fallback_bid_cpm": 9.5,
                "max_bid_cpm": priced.pricing.settings.max_bid_cpm,
            },
        },
        still_wanted=lambda: None,
    )
    register_results(engine, run_id, results=sample_results(s3_output_path=output_uri), now=now)
    return run_id


def snapshot_of(priced: PricedRun) -> dict[str, Any]:
    """Return config.json; all keys are in one section."""
    return {"business": priced.pricing.settings.model_dump(), "technical": {}, "static": {}, "sources": {}}


def metrics_of(priced: PricedRun) -> dict[str, Any]:
    """Return the sections of metrics.json that a run is priced with."""
    pricing, link, steps = priced.pricing, priced.landscape.link, priced.landscape.steps
    bids = priced.bids
    return {
        "bidding": {
            "expected_win_rate": priced.expected_win_rate,
            "shadow_price_cpm": pricing.shadow_price_cpm,
            "value_trust": pricing.value_trust,
            "step_limit": pricing.step_limit,
            "level_correction": pricing.level_correction,
            "jitter_sd": pricing.jitter_sd,
            "row_coverage": float(bids.loc[bids["is_served"], "bids"].sum() / bids["bids"].sum()),
        },
        "bid_landscape": {"reference_cpm": pricing.reference_cpm, "bid_coefficient": 1.85},
        "link": {
            "shifts": link.shifts.tolist(),
            "shares": link.shares.tolist(),
            "unrivalled_share": link.tails.floor,
            "lost_share": 1 - link.tails.ceiling,
            "price_ladder": None if steps is None else steps.ladder,
            "price_ladder_share": 0.0 if steps is None else steps.share,
        },
        "checks": [],
    }


def write_files(priced: PricedRun, folder: Path, snapshot: dict[str, Any]) -> Files:
    """Write the files of the run to the folder, as the pipeline writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    bids = priced.bids.dropna(subset="suggested_bid_cpm")
    bids.to_csv(folder / "suggested_bids.csv", index=False, lineterminator="\n", float_format="%.10g")
    memcache = priced.bids[["segment_key"]].assign(bid=priced.bids["suggested_bid_cpm"].fillna(0))
    memcache.to_csv(folder / "memcache.csv", index=False, lineterminator="\n", float_format="%.10g")
    (folder / "metrics.json").write_text(json.dumps(metrics_of(priced), allow_nan=False))
    (folder / "config.json").write_text(json.dumps(snapshot))
    files: Files = {name: (name.split(".")[0], folder / name, None) for name in ("metrics.json", "config.json")}
    tables = {"suggested_bids": len(bids), "memcache": len(memcache)}
    return {f"{name}.csv": (name, folder / f"{name}.csv", rows) for name, rows in tables.items()} | files
