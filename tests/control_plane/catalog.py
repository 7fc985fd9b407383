"""The rows that the documents' examples take for granted, and runs in every state."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert

from optimizer.control_plane import tables
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.records import Run
from optimizer.control_plane.registry import RunResults, register_results
from optimizer.control_plane.runs import RunOrigin, open_run, start_run

NOW = datetime(2026, 2, 3, 15, 0, 0, tzinfo=UTC)
SNAPSHOT = {"business": {"target_win_rate": 0.65}, "technical": {"max_bid_cpm": 30.0}, "static": {}}

_KEYS = (
    ("target_win_rate", "business", "float", "0.5", "0.01", "0.99"),
    ("max_bid_cpm", "technical", "float", "25", "0.01", "1000"),
    ("floor_available", "static", "bool", "false", None, None),
)
_MACROS = (
    ("internal_adspace_id", "[ADX_PLACEMENT_ID]"),
    ("geo_region_name", "[ADX_GEO_STATE]"),
    ("os_code", "[ADX_USER_OS]"),
)


def fill_catalog(engine: Engine) -> None:
    """Insert the optimizer, its versions 3 and 5, the entities drugs_hcp (1) and drugs_com (2), and the macros."""
    with transaction(engine) as connection:
        connection.execute(
            insert(tables.optimizers).values(opt_id=1, opt_code="rtb_optimizer", opt_name="RTB Optimizer")
        )
        for version_id in (3, 5):
            connection.execute(insert(tables.versions), _version(version_id))
            connection.execute(insert(tables.version_configs), [_key(version_id, *key) for key in _KEYS])
        connection.execute(insert(tables.entities), [entity_row(1, "drugs_hcp"), entity_row(2, "drugs_com")])
        values = (("floor_available", "false"), ("npi_enabled", "true"), ("domain_enabled", "true"))
        rows = [{"entity_id": 1, "config_key": key, "config_value": value} for key, value in values]
        connection.execute(insert(tables.entity_configs), rows)
        macros = [{"opt_id": 1, "feature_name": name, "macro_template": template} for name, template in _MACROS]
        connection.execute(insert(tables.feature_macros), macros)


def entity_row(entity_id: int, entity_code: str, **columns: Any) -> dict[str, Any]:
    """Return the row of a usable entity, or of one that `columns` spoil."""
    row = {"entity_id": entity_id, "opt_id": 1, "entity_code": entity_code, "entity_name": entity_code.title()}
    path = f"s3://tn-optimizer-data/optimizer/{entity_code}/"
    return {**row, "object_id": 1333 + entity_id, "current_version_id": 5, "s3_base_path": path, **columns}


def open_sample(engine: Engine, dag_run_id: str = "first", **fields: Any) -> Run:
    """Open a run of drugs_hcp, or of what `fields` say."""
    given = {"entity_id": 1, "version_id": 5, "entity_code": "drugs_hcp", "now": NOW, **fields}
    origin = {"dag_id": "optimize__drugs_hcp", "triggered_by": "cron", "trigger_type": "scheduled"}
    origin |= {name: given.pop(name) for name in origin.keys() & given.keys()}
    return open_run(engine, origin=RunOrigin(dag_run_id=dag_run_id, **origin), **given)


def start_sample(engine: Engine, run_id: str, **fields: Any) -> Run:
    """Start the run with the catalog's snapshot and a window of 30 days, or with what `fields` say."""
    given = {"config_snapshot": SNAPSHOT, "data_start_at": NOW - timedelta(days=30), "data_end_at": NOW, "now": NOW}
    return start_run(engine, run_id, **{**given, **fields})


def complete_sample(engine: Engine, dag_run_id: str, *, validation_status: str = "passed", **fields: Any) -> str:
    """Open, start and register a run, and return its run_id."""
    run = open_sample(engine, dag_run_id, **fields)
    start_sample(engine, run.run_id)
    register_results(engine, run.run_id, results=sample_results(validation_status=validation_status), now=NOW)
    return run.run_id


def sample_results(**fields: Any) -> RunResults:
    """Return the results that the documents' example flow prints, with `fields` in their place."""
    counts = {"total_bids": 5_000_000, "total_views": 1_560_000, "total_clicks": 2_340, "total_segments": 1454}
    sizes = {"segments_count": 541, "segments_in_memcache": 93, "domains_count": 12, "npis_count": 0}
    bids = {"bid_median": 30.0, "bid_min": 19.63, "bid_max": 30.0}
    features = (
        {"feature_name": "geo_region_name", "feature_order": 1, "is_anchor": True, "macro_id": 2},
        {"feature_name": "os_code", "feature_order": 2, "signal_score": 95.72, "macro_id": 3},
    )
    output = {"output_type": "memcache", "s3_bucket": "tn-optimizer-data", "s3_key": "optimizer/memcache.csv"}
    written = {
        "features_used": "geo_region_name,os_code",
        "s3_output_path": "s3://tn-optimizer-data/optimizer/drugs_hcp/runs/20260203_150000/",
        "validation_status": "passed",
        "features": features,
        "macro_combination": "[ADX_GEO_STATE]|[ADX_USER_OS]",
        "metrics": (("win_rate_model", "wr_model_auc", 0.6174), ("ctr_model", "ctr_model_auc", None)),
        "outputs": ({**output, "row_count": 93, "byte_count": 2048, "sha256": "0" * 64},),
    }
    return RunResults.model_validate({**counts, **sizes, **bids, **written, **fields})


def _version(version_id: int) -> dict[str, Any]:
    names = {"version_code": f"v{version_id}", "version_name": f"Version {version_id}"}
    return {"version_id": version_id, "opt_id": 1, "supported_configs": [key[0] for key in _KEYS], **names}


def _key(version_id: int, name: str, section: str, kind: str, default: str, low: str | None, high: str | None) -> dict:
    shown = {"config_key": name, "config_section": section, "display_name": name.replace("_", " ").capitalize()}
    limits = {"data_type": kind, "default_value": default, "min_value": low, "max_value": high}
    return {"version_id": version_id, **shown, **limits}
