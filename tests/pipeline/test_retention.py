"""Old objects are removed by policy from a real S3 server, and never those of a run that traffic may need."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

import pytest
from control_plane.catalog import NOW, fill_catalog, open_sample, sample_results, start_sample
from control_plane.databases import new_control_plane
from sqlalchemy import Engine, insert, text

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import canaries, registry, runs, tables
from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.deployments import deploy, set_control
from optimizer.control_plane.engine import transaction
from optimizer.core.live.canary_plan import read_plan
from optimizer.errors import ArtifactError, ConfigError, DeploymentError, RunStateError
from optimizer.lifecycle import retention
from optimizer.lifecycle.retention import RetentionPolicy, plan_removals
from optimizer.runs.published_run import read_published

BUCKET = "retention"
POLICY = RetentionPolicy(output_days=180, scratch_days=14)
ANNA, DAY = Author("anna"), timedelta(days=1)
FILES = ("manifest.json", "memcache.csv")
_bases = count(1)


@dataclass(frozen=True)
class Kept:
    """A control plane with its objects below a prefix of its own."""

    engine: Engine
    store: ObjectStore
    base: str

    def ended(self, status: str = "completed", *, days_ago: float, folder: str = "runs", validation: str = "passed"):
        """Return a run of drugs_hcp that ended so long ago, with two staged and two published objects."""
        at = NOW - days_ago * DAY
        run = open_sample(self.engine, f"{status} {days_ago} {folder} {validation}", now=at)
        start_sample(self.engine, run.run_id, now=at, is_dry_run=folder == "dry_runs")
        uri = f"{self.base}{folder}/{run.run_id}/"
        results = sample_results(s3_output_path=uri, validation_status=validation)
        if folder == "dry_runs":
            registry.register_dry_run(self.engine, run.run_id, figures=results, now=at)
        elif status == "completed":
            registry.register_results(self.engine, run.run_id, results=results, now=at)
        else:
            runs.fail_run(self.engine, run.run_id, message="x", now=at)
        for prefix in (uri, f"{self.base}staging/{run.run_id}/"):
            for name in FILES:
                self.store.put_bytes(prefix + name, b"{}")
        return run.run_id

    def deploy(self, run_id: str, *, days_ago: float, **others: int) -> None:
        split = {run_id: 100 - sum(others.values()), **others}
        deploy(self.engine, entity_code="drugs_hcp", split=split, author=ANNA, now=NOW - days_ago * DAY)

    def plan(self, now: datetime = NOW, policy: RetentionPolicy = POLICY) -> list[retention.Removal]:
        return plan_removals(self.engine, store=self.store, policy=policy, now=now)

    def planned(self, what: str) -> set[str]:
        return {removal.run.run_id for removal in self.plan() if removal.what == what}

    def remove(self, removals: list[retention.Removal] | None = None) -> list[retention.Removal]:
        planned = self.plan() if removals is None else removals
        return retention.remove(planned, engine=self.engine, store=self.store, policy=POLICY, author=ANNA, now=NOW)

    def keys(self, folder: str, run_id: str) -> list[str]:
        return self.store.list_keys(f"{self.base}{folder}/{run_id}/")


@pytest.fixture
def kept(systems: LocalStack, tmp_path) -> Iterator[Kept]:
    systems.ensure_bucket(BUCKET)
    client = systems.connect_objects()
    engine = new_control_plane(tmp_path / "control_plane.db", fill_catalog)
    base = f"s3://{BUCKET}/{next(_bases)}/drugs_hcp/"
    with transaction(engine) as connection:
        connection.execute(text("UPDATE opt_entities SET s3_base_path = :base WHERE entity_id = 1"), {"base": base})
    yield Kept(engine, ObjectStore(client), base)
    client.close()


def test_each_kind_of_objects_is_kept_for_its_days(kept: Kept):
    old, scratch, young = (kept.ended(days_ago=days) for days in (181, 15, 13))
    dry, young_dry = (kept.ended(days_ago=days, folder="dry_runs") for days in (15.1, 13.1))
    failed, young_failed = (kept.ended("failed", days_ago=days) for days in (15.2, 13.2))
    invalid = kept.ended(days_ago=181.1, validation="failed")
    assert kept.planned("outputs") == {old, invalid}
    assert kept.planned("dry run") == {dry}
    assert kept.planned("unfinished outputs") == {failed}
    assert kept.planned("staging") == {old, scratch, dry, failed, invalid}
    assert not {young, young_dry, young_failed} & {removal.run.run_id for removal in kept.plan()}


def test_runs_that_are_or_were_live_the_control_and_canaries_keep_their_outputs(kept: Kept):
    long_ago, lately, control, live, tried, never = (kept.ended(days_ago=300 - number) for number in range(6))
    kept.deploy(long_ago, days_ago=250)
    kept.deploy(lately, days_ago=200)
    set_control(kept.engine, entity_code="drugs_hcp", run_id=control, author=ANNA, now=NOW)
    kept.deploy(live, days_ago=170)
    with transaction(kept.engine) as connection:
        plan = read_plan("5@1d, 20@2d")
        canaries.start(connection, 1, run_id=tried, plan=plan, author=ANNA, now=NOW - 170 * DAY)
    assert kept.planned("outputs") == {long_ago, never}


def test_removal_deletes_the_objects_and_marks_the_run_and_leaves_its_row_and_the_audit(kept: Kept):
    old, kept_run = kept.ended(days_ago=181), kept.ended(days_ago=20)
    stranger = f"{kept.base}runs/not_a_run/manifest.json"
    kept.store.put_bytes(stranger, b"{}")
    done = kept.remove()
    assert {(removal.run.run_id, removal.what) for removal in done} == {
        (old, "staging"),
        (old, "outputs"),
        (kept_run, "staging"),
    }
    assert kept.keys("runs", old) == kept.keys("staging", old) == []
    assert len(kept.keys("runs", kept_run)) == 2 and kept.store.exists(stranger)
    row = runs.read_run(kept.engine, old)
    assert (row.status, row.outputs_removed_at) == ("completed", NOW)
    assert registry.read_outputs(kept.engine, old) == [] and registry.read_outputs(kept.engine, kept_run)
    audit = [entry for entry in read_audit(kept.engine, "drugs_hcp") if entry.action == "remove_objects"]
    assert {(entry.run_id, entry.after_value["what"]) for entry in audit} == {
        (removal.run.run_id, removal.what) for removal in done
    }
    assert {entry.actor for entry in audit} == {"anna"}
    assert kept.plan() == []


def test_a_run_whose_files_are_gone_cannot_be_deployed_or_explained(kept: Kept):
    old = kept.ended(days_ago=181)
    kept.remove()
    with pytest.raises(DeploymentError, match=f"the files of run {old} were removed on 2026-02-03"):
        kept.deploy(old, days_ago=0)
    with pytest.raises(RunStateError, match="its files were removed on 2026-02-03"):
        read_published(old, engine=kept.engine, store=kept.store)


def test_a_run_that_goes_live_after_the_plan_keeps_its_files(kept: Kept):
    old = kept.ended(days_ago=181)
    planned = kept.plan()
    kept.deploy(old, days_ago=0)
    assert [removal.what for removal in kept.remove(planned)] == ["staging"]
    assert len(kept.keys("runs", old)) == 2


def test_a_pass_that_was_interrupted_is_completed_by_the_next(kept: Kept, monkeypatch: pytest.MonkeyPatch):
    old = kept.ended(days_ago=181)
    planned = [removal for removal in kept.plan() if removal.what == "outputs"]
    deleted: list[str] = []

    def delete_one(store: ObjectStore, uri: str) -> None:
        if deleted:
            raise ArtifactError("interrupted")
        deleted.append(uri)
        kept.store.client.delete_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))

    with monkeypatch.context() as patched, pytest.raises(ArtifactError, match="interrupted"):
        patched.setattr(ObjectStore, "delete", delete_one)
        kept.remove(planned)
    assert deleted[0].endswith("manifest.json") and len(kept.keys("runs", old)) == 1
    assert runs.read_run(kept.engine, old).outputs_removed_at == NOW
    kept.remove()
    assert kept.keys("runs", old) == []


def test_an_open_run_and_a_deployment_without_an_end_keep_everything(kept: Kept):
    run = open_sample(kept.engine, "open", now=NOW - 300 * DAY)
    start_sample(kept.engine, run.run_id, now=NOW - 300 * DAY)
    kept.store.put_bytes(f"{kept.base}staging/{run.run_id}/cells.parquet", b"{}")
    unknown = kept.ended(days_ago=299)
    row = {"run_id": unknown, "entity_id": 1, "traffic_pct": 100, "is_active": False, "deployed_at": NOW - 290 * DAY}
    with transaction(kept.engine) as connection:
        connection.execute(insert(tables.deployments).values(row))
    assert {(removal.run.run_id, removal.what) for removal in kept.plan()} == {(unknown, "staging")}


def test_outputs_below_an_earlier_prefix_of_the_entity_are_left_alone(kept: Kept):
    kept.ended(days_ago=181)
    with transaction(kept.engine) as connection:
        connection.execute(text("UPDATE opt_entities SET s3_base_path = 's3://retention/moved/' WHERE entity_id = 1"))
    assert kept.plan() == []


@pytest.mark.parametrize(("outputs", "scratch"), [(7, 14), (180, 0)])
def test_a_policy_keeps_outputs_at_least_as_long_as_staged_files(outputs: int, scratch: int):
    with pytest.raises(ConfigError, match=f"keep staged files for 1 to {outputs} days"):
        RetentionPolicy(output_days=outputs, scratch_days=scratch)
