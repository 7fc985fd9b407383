"""validate, upload and promote on staged files that were changed, on logs with wrong units, and on runs that warn."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pipeline.driver import ENTITY, LATER, Pipeline
from pipeline.first_run import FinishedRun

from optimizer.control_plane import deployment_history, deployments
from optimizer.control_plane.audit import Author
from optimizer.core.records import run_files
from optimizer.errors import ArtifactError, DataError
from optimizer.runs import staging
from optimizer.runs.handle import RunHandle
from optimizer.steps import approve

PRICED = ("extract", "select_features", "train_models", "compute_bids")


class Staged:
    """A run whose validation passed, and whose staged files a test may change."""

    def __init__(self, pipeline: Pipeline, run: RunHandle) -> None:
        self.pipeline, self.run, self.stage = pipeline, run, run.staging(pipeline.systems)
        self.kept = {
            name: pipeline.systems.store.get_bytes(run.staging_uri + name)
            for name in (
                *(run_files.BIDS, run_files.BID_FIGURES, run_files.DOMAINS, run_files.NPIS),
                *(run_files.WIN_MODEL, run_files.SELECTION, run_files.BACKTEST),
            )
        }
        assert self.validate() == []
        self.kept[run_files.VALIDATION] = pipeline.systems.store.get_bytes(run.staging_uri + run_files.VALIDATION)

    def restore(self) -> None:
        for name, content in self.kept.items():
            self.pipeline.systems.store.put_bytes(self.run.staging_uri + name, content)

    def change(self, name: str, change: Callable[[pd.DataFrame], pd.DataFrame], *, note_checksum: bool) -> None:
        stored = self.stage.put_frame(name, change(self.stage.get_frame(name)))
        if note_checksum:
            figures = self.stage.get_json(run_files.BID_FIGURES)
            figures["checksums"][name] = stored.sha256
            self.stage.put_json(run_files.BID_FIGURES, figures)

    def validate(self) -> list[str]:
        """Return the names of the checks that fail the run."""
        self.pipeline.step(self.run, "validate")
        checks = self.stage.get_json(run_files.VALIDATION)["checks"]
        return [check["name"] for check in checks if check["verdict"] == "failed"]


@pytest.fixture(scope="module")
def validated(new_pipeline: Callable[..., Pipeline]) -> Staged:
    pipeline = new_pipeline()
    run = pipeline.open()
    for name in PRICED:
        pipeline.step(run, name)
    return Staged(pipeline, run)


@pytest.fixture
def staged(validated: Staged) -> Iterator[Staged]:
    """Return the run with its files as they were computed and validated."""
    yield validated
    validated.restore()


def test_files_as_they_were_computed_pass(staged: Staged):
    validation = staged.stage.get_json(run_files.VALIDATION)
    assert (
        validation["checksums"][run_files.BIDS]
        == staged.stage.get_json(run_files.BID_FIGURES)["checksums"][run_files.BIDS]
    )


def scale(column: str, factor: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(**{column: factor * table[column]})


TAMPERED = {
    "ten times": (run_files.BIDS, scale("suggested_bid_cpm", 10), "bids_outside_bounds"),
    "all equal": (run_files.BIDS, lambda bids: bids.assign(suggested_bid_cpm=10.0), "jitter_excess"),
    "a tenth": (run_files.BIDS, lambda bids: bids.iloc[::10], "segment_rows_missing"),
    "nine tenths missing": (
        run_files.BIDS,
        lambda bids: bids.assign(suggested_bid_cpm=bids["suggested_bid_cpm"].where(np.arange(len(bids)) % 10 == 0)),
        "bids_missing",
    ),
    "domains doubled": (run_files.DOMAINS, scale("multiplier", 2), "multipliers_outside_bounds"),
    "NPIs without multiplier": (run_files.NPIS, scale("multiplier", np.nan), "multipliers_outside_bounds"),
}


@pytest.mark.parametrize(("name", "change", "check"), TAMPERED.values(), ids=TAMPERED)
def test_changed_files_fail_by_their_checksum(staged: Staged, name: str, change: Callable, check: str):
    staged.change(name, change, note_checksum=False)
    assert {"changed_tables", check} <= set(staged.validate())


@pytest.mark.parametrize(("name", "change", "check"), TAMPERED.values(), ids=TAMPERED)
def test_changed_files_fail_though_their_checksum_was_changed_too(
    staged: Staged, name: str, change: Callable, check: str
):
    staged.change(name, change, note_checksum=True)
    failed = staged.validate()
    assert check in failed and "changed_tables" not in failed


@pytest.mark.parametrize("name", [run_files.WIN_MODEL, run_files.SELECTION, run_files.BACKTEST])
def test_upload_refuses_models_and_records_that_changed_after_validation(staged: Staged, name: str):
    store, uri = staged.pipeline.systems.store, staged.run.staging_uri + name
    store.put_bytes(uri, store.get_bytes(uri) + b" ")
    with pytest.raises(ArtifactError, match=f"{name} changed after it was validated"):
        staged.pipeline.step(staged.run, "upload")


def test_upload_publishes_what_was_validated_and_nothing_else(staged: Staged):
    staged.change(run_files.BIDS, scale("suggested_bid_cpm", 1.01), note_checksum=False)
    with pytest.raises(ArtifactError, match=r"bids\.parquet changed after it was validated .* clear the task validate"):
        staged.pipeline.step(staged.run, "upload")
    assert staged.pipeline.systems.store.list_keys(staged.run.output_uri) == []


def change_cells(pipeline: Pipeline, run: RunHandle, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Replace the extracted cells, as if the warehouse had held others."""
    stage = run.staging(pipeline.systems)
    name = stage.get_json(run_files.TOTALS)["files"][run_files.SEGMENT_CELLS]
    stage.put_frame(name, change(stage.get_frame(name)))


def finish(pipeline: Pipeline, run: RunHandle, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    pipeline.step(run, "extract")
    change_cells(pipeline, run, change)
    for name in (*PRICED[1:], "validate", "upload", "register"):
        pipeline.step(run, name)


def test_floors_in_micros_fail_the_run_and_are_named(pipeline: Pipeline):
    def in_micros(cells: pd.DataFrame) -> pd.DataFrame:
        adspaces = sorted(cells["internal_adspace_id"].dropna().unique())
        rows = cells["internal_adspace_id"].isin(adspaces[: round(0.9 * len(adspaces))])
        return cells.assign(floor_cpm_max=np.where(rows, 2_500_000.0, 1.0))

    run = pipeline.open(floor_available=True)
    finish(pipeline, run, in_micros)
    row = pipeline.row(run)
    assert row.outcome == "failed"
    assert "floor_cpm of internal_adspace_id" in row.error_message
    assert "looks like micros: divide by 1,000,000 in the load of BIDS" in row.error_message
    for name in ("row_coverage", "win_share", "spend_share"):
        assert f"{name} is 0." in row.error_message
    assert not pipeline.promote(run)["is_promoted"]


def test_a_feature_that_knows_the_outcome_fails_the_run_and_is_named(pipeline: Pipeline):
    run = pipeline.open()
    finish(pipeline, run, won_by_device)
    row = pipeline.row(run)
    assert row.outcome == "failed"
    assert "device_type (in the segment key) knows whether the bid won" in row.error_message
    assert "set status='I' on device_type in opt_feature_macros" in row.error_message


def test_a_feature_that_knows_the_outcome_is_named_where_training_ends_on_it(pipeline: Pipeline):
    def refuse(*_: Any, **__: Any) -> None:
        raise DataError("the win-rate curve does not converge")

    pipeline = replace(pipeline, run_training=refuse)
    run = pipeline.open()
    with pytest.raises(DataError, match=r"does not converge: device_type .* knows whether the bid won") as raised:
        finish(pipeline, run, won_by_device)
    assert "set status='I' on device_type in opt_feature_macros" in str(raised.value)


def won_by_device(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells whose device_type says which bids were won."""
    share = cells["wins"] / cells["bids"]
    sums = ("bid_cpm_sum", "base_bid_cpm_sum")
    won = cells.assign(device_type="won", bids=cells["wins"], **{name: cells[name] * share for name in sums})
    empty = {"wins": 0, "clicks": 0, "cost_cpm_sum": 0.0, "view_revenue": 0.0, "click_revenue": 0.0}
    lost = cells.assign(
        device_type="lost",
        bids=cells["bids"] - cells["wins"],
        **{name: cells[name] * (1 - share) for name in sums},
        **empty,
    )
    both = pd.concat([won, lost], ignore_index=True)
    return both[both["bids"] > 0]


@pytest.fixture(scope="module")
def warned(new_pipeline: Callable[..., Pipeline], first_run: FinishedRun) -> tuple[Pipeline, RunHandle]:
    """Return a registered run on a log in which too many views match no bid; its bids are the active run's."""
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    run = pipeline.open("warned", now=LATER, daily_step_limit=0.05)
    pipeline.step(run, "extract", now=LATER)
    stage = run.staging(pipeline.systems)
    totals = stage.get_json(run_files.TOTALS)
    stage.put_json(run_files.TOTALS, totals | {"orphan_views": totals["orphan_views"] + 2_000})
    for name in (*PRICED[1:], "validate"):
        pipeline.step(run, name, now=LATER)
    keep_only_warning(stage, "orphan_view_share")
    for name in ("upload", "register"):
        pipeline.step(run, name, now=LATER)
    return pipeline, run


def keep_only_warning(stage: staging.Staging, name: str) -> None:
    """Let every other check pass, whatever so short a log makes of it."""
    validation = stage.get_json(run_files.VALIDATION)
    held = next(check for check in validation["checks"] if check["name"] == name)
    assert held["verdict"] == "holds"
    others = [check | {"verdict": "passed", "is_passed": True} for check in validation["checks"] if check is not held]
    warnings = [text for text in validation["warnings"] if text.startswith(name)]
    stage.put_json(run_files.VALIDATION, validation | {"checks": [*others, held], "warnings": warnings})


@pytest.mark.parametrize("promotion", ["auto", "canary"])
def test_a_warning_that_holds_keeps_the_run_from_going_live_automatically(
    new_pipeline: Callable[..., Pipeline],
    warned: tuple[Pipeline, RunHandle],
    first_run: FinishedRun,
    promotion: str,
):
    pipeline, run = new_pipeline(copy_of=warned[0]), warned[1]
    pipeline.set_promotion(run, promotion)
    row = pipeline.row(run)
    assert (row.validation_status, row.validation_warnings) == ("passed", 1)
    result = pipeline.promote(run, now=LATER)
    assert not result["is_promoted"]
    for part in (
        "passed with 1 warning and is not promoted automatically",
        "orphan_view_share: too many views",
        "BIDS",
    ):
        assert part in result["reason"]
    assert f"`optimizer deploy {ENTITY} {run.run_id}=100` gives it the traffic by hand" in result["reason"]
    active = deployment_history.read_active(pipeline.systems.engine, ENTITY)
    assert [item.run_id for item in active] == [first_run.handle.run_id]
    assert pipeline.close("warned")["validation"] == "passed with 1 warning"
    by_hand = deployments.deploy(
        pipeline.systems.engine, entity_code=ENTITY, split={run.run_id: 100}, author=Author("anna"), now=LATER
    )
    assert [item.run_id for item in by_hand] == [run.run_id]


def test_a_user_may_approve_a_run_that_warnings_hold(
    new_pipeline: Callable[..., Pipeline], warned: tuple[Pipeline, RunHandle]
):
    pipeline, run = new_pipeline(copy_of=warned[0]), warned[1]
    pipeline.set_promotion(run, "approval")
    request = approve.request_of(run, systems=pipeline.systems)
    assert "validation **passed with 1 warning**" in request.body
    assert "1 would keep it from going live without approval" in request.body
    assert "`orphan_view_share`" in request.body and "check that BIDS and VIEWS are loaded" in request.body
    promoted = pipeline.promote(run, now=LATER, approved_by="anna")
    assert promoted["is_promoted"]


def test_the_verdicts_stand_in_the_figures_of_the_run(first_run: FinishedRun):
    document = first_run.read_json("metrics.json")
    assert set(document["validation_verdicts"]) == {check["name"] for check in document["checks"]}
    assert document["target"]["target_win_rate"] == pytest.approx(0.3)
    assert document["target"]["reachable_win_rate"] >= document["target"]["expected_win_rate"]


def test_staged_files_are_only_read_as_they_were_pinned(staged: Staged, tmp_path: Path):
    checksums = staged.stage.checksums_of([run_files.BIDS, run_files.BID_FIGURES, "missing.json"])
    assert set(checksums) == {run_files.BIDS, run_files.BID_FIGURES}
    pinned = staged.stage.pinned(checksums)
    assert json.dumps(pinned.get_json(run_files.BID_FIGURES)) == json.dumps(
        staged.stage.get_json(run_files.BID_FIGURES)
    )
    staged.stage.put_json(run_files.BID_FIGURES, {})
    with pytest.raises(ArtifactError, match=r"bids\.json changed after it was validated"):
        pinned.get_json(run_files.BID_FIGURES)
