"""`optimizer retention` and the lists of dry runs, on the S3 server of the embedded stack."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cli.conftest import Command
from control_plane.catalog import open_sample, sample_results, start_sample
from sqlalchemy import Engine, text

from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.registry import register_dry_run

BUCKET = "retention-cli"
BASE = f"s3://{BUCKET}/drugs_hcp/"


@pytest.fixture
def bucket() -> str:
    return BUCKET


@pytest.fixture
def dry_run(engine: Engine, store: ObjectStore) -> str:
    """Return a dry run that ended twenty days ago, with two objects."""
    at = datetime.now(UTC) - timedelta(days=20)
    run_id = open_sample(engine, "dry", now=at).run_id
    start_sample(engine, run_id, now=at, is_dry_run=True)
    message = "dry run: validation passed; it cannot be deployed"
    results = sample_results(s3_output_path=f"{BASE}dry_runs/{run_id}/", error_message=message)
    register_dry_run(engine, run_id, figures=results, now=at)
    for name in ("manifest.json", "memcache.csv"):
        store.put_bytes(f"{BASE}dry_runs/{run_id}/{name}", b"{}")
    with transaction(engine) as connection:
        connection.execute(text("UPDATE opt_entities SET s3_base_path = :base WHERE entity_id = 1"), {"base": BASE})
        connection.execute(text("DELETE FROM opt_entities WHERE entity_id = 2"))
    return run_id


def test_lists_and_show_call_it_a_dry_run(dry_run: str, optimizer: Command, optimizer_json: Any):
    line = next(line for line in optimizer("runs").stdout.splitlines() if dry_run in line)
    assert "dry run" in line and "cancelled" not in line
    listed = next(row for row in optimizer_json("runs") if row["run_id"] == dry_run)
    assert (listed["status"], listed["is_dry_run"]) == ("cancelled", True)
    shown = optimizer("show", dry_run).stdout
    assert f"Dry run {dry_run}" in shown and "A dry run can never be deployed." in shown


def test_a_dry_pass_shows_what_it_would_remove_and_removes_nothing(dry_run: str, optimizer_json: Any, store):
    (planned,) = optimizer_json("retention", "--dry-run")
    assert (planned["run_id"], planned["what"], planned["objects"]) == (dry_run, "dry run", 2)
    assert len(store.list_keys(f"{BASE}dry_runs/{dry_run}/")) == 2


def test_it_asks_before_it_removes(dry_run: str, optimizer: Command, store: ObjectStore):
    refused = optimizer("retention")
    assert refused.exit_code == 1 and dry_run in refused.stdout
    assert len(store.list_keys(f"{BASE}dry_runs/{dry_run}/")) == 2
    removed = optimizer("retention", "--yes", "--by", "anna")
    assert removed.exit_code == 0 and "Removed 2 objects." in removed.stdout
    assert store.list_keys(f"{BASE}dry_runs/{dry_run}/") == []
    assert "remove_objects" in optimizer("audit", "drugs_hcp").stdout
