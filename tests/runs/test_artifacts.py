"""The staged JSON files of a run, and those of releases that gave them no version."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from optimizer.core.checks.outcome import CheckRecord, checks_of, failed_checks, held_by
from optimizer.core.records.bid_figures import LinkRecord
from optimizer.core.records.config_snapshot import ConfigSnapshot
from optimizer.core.records.variation import SlopeRecord
from optimizer.errors import ArtifactError
from optimizer.runs import artifacts
from optimizer.runs.artifacts import VERSION_KEY, JsonArtifact
from optimizer.runs.handle import RunHandle
from optimizer.runs.metrics import metrics_document
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.staging import Staging

UNVERSIONED = Path(__file__).parent / "unversioned"
"""The files of one run, as releases before schema versions wrote them; the lists of training.json are cut."""

STAGED = [
    artifacts.TOTALS,
    artifacts.VARIATION,
    artifacts.SELECTION,
    artifacts.TRAINING,
    artifacts.TRACKING,
    artifacts.BID_FIGURES,
    artifacts.BACKTEST,
    artifacts.VALIDATION,
]
RUN = RunHandle(run_id="1", run_code="1", entity_code="drugs_hcp", staging_uri="s3://b/1/", output_uri="s3://b/out/")


class Objects:
    """An object store in memory."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def exists(self, uri: str) -> bool:
        return uri in self.content

    def put_bytes(self, uri: str, content: bytes) -> None:
        self.content[uri] = content

    def get_bytes(self, uri: str) -> bytes:
        return self.content[uri]


@pytest.fixture
def stage() -> Staging:
    return Staging(Objects(), RUN.staging_uri)


def written_before(name: str) -> Any:
    return json.loads((UNVERSIONED / name).read_text())


@pytest.mark.parametrize("artifact", STAGED, ids=lambda artifact: artifact.name)
def test_a_file_without_version_is_read_and_keeps_its_fields(stage: Staging, artifact: JsonArtifact[Any]):
    before = written_before(artifact.name)
    stage.put_json(artifact.name, before)
    record = artifact.read(stage)
    artifact.write(stage, record)
    assert artifact.read(stage) == record
    assert stage.get_json(artifact.name) == {VERSION_KEY: artifact.version, **before}


def test_the_metrics_of_a_run_in_flight_are_what_the_earlier_release_would_have_published(stage: Staging):
    for artifact in STAGED:
        stage.put_json(artifact.name, written_before(artifact.name))
    stage.put_json("validation.json", written_before("validation.json") | {"checksums": {}})
    stage.put_json("tracking.json", {})
    run = StagedRun.of(RUN, snapshot=ConfigSnapshot.model_validate(written_before("config.json")), stage=stage)
    document = metrics_document(run)
    assert document["bidding"].pop("segments_in_memcache") == run.bids.segments_in_memcache, "not yet in that release"
    assert document.pop("calibration") == list(run.training.calibration), "not yet in that release"
    assert json.dumps(document) == json.dumps(written_before("metrics.json"))
    assert run.settings.target_win_rate == 0.3
    assert run.landscape.reference_cpm == run.training.reference_cpm


def test_a_run_that_staged_nothing_of_tracking_has_no_figures_of_it(stage: Staging):
    for artifact in STAGED:
        if artifact is not artifacts.TRACKING:
            stage.put_json(artifact.name, written_before(artifact.name))
    stage.put_json("validation.json", written_before("validation.json") | {"checksums": {}})
    run = StagedRun.of(RUN, snapshot=ConfigSnapshot.model_validate(written_before("config.json")), stage=stage)
    assert run.tracking.figures() == {}


def test_what_reading_the_log_cost_is_a_section_of_the_runs_metrics(stage: Staging):
    costs = {"statements": 7, "bytes_scanned": 48_000_000, "execution_s": 2.5, "cloud_services_credits": 0.0004}
    for artifact in STAGED:
        stage.put_json(artifact.name, written_before(artifact.name))
    stage.put_json("totals.json", written_before("totals.json") | {"query_costs": costs})
    stage.put_json("validation.json", written_before("validation.json") | {"checksums": {}})
    run = StagedRun.of(RUN, snapshot=ConfigSnapshot.model_validate(written_before("config.json")), stage=stage)
    assert metrics_document(run)["warehouse"] == costs


def test_a_snapshot_is_written_as_it_was_read():
    before = written_before("config.json")
    snapshot = ConfigSnapshot.model_validate(before)
    assert json.dumps(snapshot.to_json()) == json.dumps(before)
    assert snapshot.inputs.data_end_dt == datetime(2026, 2, 5, tzinfo=UTC)


def test_a_missing_backtest_is_null(stage: Staging):
    artifacts.BACKTEST.write(stage, None)
    assert stage.get_json(artifacts.BACKTEST.name) is None and artifacts.BACKTEST.read(stage) is None


def test_a_file_of_a_later_version_is_refused_with_what_to_do(stage: Staging):
    later = replace(artifacts.SELECTION, version=artifacts.SELECTION.version + 1)
    later.write(stage, artifacts.SELECTION.record.validate_python(written_before("selection.json")))
    with pytest.raises(ArtifactError, match=r"s3://b/1/selection.json has schema_version 2, .* start a new run"):
        artifacts.SELECTION.read(stage)


def test_a_file_that_is_not_such_a_record_is_refused_with_its_fields(stage: Staging):
    stage.put_json("totals.json", written_before("totals.json") | {"usable_bids": "many", "days": None})
    with pytest.raises(ArtifactError, match=r"totals.json cannot be read: usable_bids: .*; days: .*; clear the task"):
        artifacts.TOTALS.read(stage)


def test_checks_of_releases_that_noted_no_verdict_have_one():
    known = {"name": "a", "figure": 0.2, "relation": "<=", "limit": 0.1}
    old = [known, known | {"is_passed": False, "severity": "hold"}, known | {"is_passed": False, "severity": "hard"}]
    checks = checks_of({"checks": old})
    assert [check.verdict for check in checks] == ["passed", "holds", "failed"]
    assert [check.severity for check in failed_checks(checks)] == ["hard", "hold"]
    assert held_by(checks) == ["a"] and checks_of({}) == ()
    assert TypeAdapter(tuple[CheckRecord, ...]).validate_python(old) == checks


def test_a_link_of_releases_without_lost_share_and_round_prices_reaches_one():
    link = LinkRecord.model_validate({"shifts": [0.0], "shares": [1.0], "unrivalled_share": 0.1})
    landscape = link.landscape(10.0)
    assert landscape.steps is None and landscape.link.tails.ceiling == 1.0


def test_a_slope_without_value_is_none_and_one_without_error_is_unbounded():
    assert SlopeRecord(value=None, error=None, is_identified=False).slope is None
    slope = SlopeRecord(value=2.0, error=None, is_identified=False).slope
    assert slope is not None and slope.error == float("inf")
