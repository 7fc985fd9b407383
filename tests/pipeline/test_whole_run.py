"""A run from the log to promoted bids: what is said in one place must be found again in every other."""

import csv
import io
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from core.checks.tables import SETTINGS, bid_table, figures_of, measured
from pipeline.driver import BIDS
from pipeline.first_run import FinishedRun

from lab.market.tables import Events
from optimizer.control_plane import deployment_history, registry
from optimizer.core.checks.bids import bid_checks
from optimizer.core.pricing.target_reach import TargetReach
from optimizer.core.serving.keys import segment_key, split_key
from optimizer.runs.planned_bids import read_planned_bids

CSV_FILES = ("suggested_bids.csv", "memcache.csv", "domain_multipliers.csv", "npi_multipliers.csv")


def table(run: FinishedRun, name: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(run.read(name)), dtype={"segment_key": str, "npi": str}, keep_default_na=False)


@pytest.fixture(scope="module")
def row(first_run: FinishedRun) -> Any:
    return first_run.pipeline.row(first_run.handle)


@pytest.fixture(scope="module")
def outputs(first_run: FinishedRun) -> dict[str, Any]:
    found = registry.read_outputs(first_run.pipeline.systems.engine, first_run.handle.run_id)
    return {output.s3_key.rsplit("/", 1)[1]: output for output in found}


def test_the_run_is_completed_validated_and_carries_all_traffic(first_run: FinishedRun, row: Any):
    assert (row.status, row.validation_status, row.error_message) == ("completed", "passed", None)
    split = {first_run.handle.run_id: 100}
    assert first_run.promotion == {"is_promoted": True, "reason": "promotion=auto, approved by anna", "split": split}
    active = deployment_history.read_active(first_run.pipeline.systems.engine, "drugs_hcp")
    assert [(item.run_id, item.traffic_pct) for item in active] == [(row.run_id, 100)]
    assert first_run.pipeline.close()["status"] == "completed"


def test_the_totals_of_the_row_are_those_of_the_log(row: Any, log: Events):
    bids, views, clicks = (getattr(log, name).to_pandas() for name in ("bids", "views", "clicks"))
    usable = set(bids.loc[bids["bid_cpm"] > 0, "bid_id"])
    viewed = set(views["bid_id"]) & usable
    assert row.total_bids == len(usable) == BIDS
    assert row.total_views == len(viewed)
    assert row.total_clicks == len(set(clicks["bid_id"]) & viewed)


def test_every_number_of_the_row_is_found_again_in_the_files(first_run: FinishedRun, row: Any):
    bids, served = table(first_run, "suggested_bids.csv"), table(first_run, "memcache.csv")
    assert row.segments_count == len(bids)
    assert row.total_segments >= row.segments_count
    assert row.segments_in_memcache == len(served)
    assert row.domains_count == len(table(first_run, "domain_multipliers.csv"))
    assert row.npis_count == len(table(first_run, "npi_multipliers.csv"))
    suggested = bids["suggested_bid_cpm"]
    found = [row.bid_median, row.bid_min, row.bid_max]
    assert found == pytest.approx([suggested.median(), suggested.min(), suggested.max()])
    assert row.total_bids == bids["bids"].sum()
    assert row.total_views == bids["views"].sum()
    assert row.total_clicks == bids["clicks"].sum()


@pytest.mark.parametrize(("share", "verdict"), [(0.3, "warning"), (0.9, "passed")])
def test_a_later_run_with_far_fewer_keys_than_this_one_warns(first_run: FinishedRun, share: float, verdict: str):
    earlier = read_planned_bids(first_run.handle.run_id, first_run.pipeline.systems).figures
    assert earlier.segments_in_memcache == len(table(first_run, "memcache.csv"))
    bids = bid_table()
    later = figures_of(bids, active_segments_in_memcache=earlier.segments_in_memcache)
    found = replace(measured(bids), segments_in_memcache=round(share * earlier.segments_in_memcache))
    checks = bid_checks(bids, found, figures=later, reach=TargetReach(0.5, 0.5, 0.9, {}), settings=SETTINGS)
    assert {check.name: check.verdict for check in checks}["key_count_change"] == verdict


def test_every_metric_of_the_control_plane_is_in_metrics_json_and_the_other_way_round(first_run: FinishedRun):
    rows = registry.read_metrics(first_run.pipeline.systems.engine, first_run.handle.run_id)
    document = first_run.read_json("metrics.json")
    lists = {name: document.pop(name) for name in ("link", "calibration", "features", "reasons", "checks")}
    assert {(r.metric_section, r.metric_key): r.metric_value for r in rows} == {
        (section, key): value for section, figures in document.items() for key, value in figures.items()
    }
    assert sum(lists["reasons"].values()) == first_run.pipeline.row(first_run.handle).total_segments
    assert all(check["is_passed"] for check in lists["checks"] if check["severity"] == "hard")
    assert {check["name"]: check["figure"] for check in lists["checks"]} == document["validation"]
    assert len(lists["calibration"]) > 5
    assert all(0 < one[name] < 1 for one in lists["calibration"] for name in ("predicted", "observed"))


def test_features_of_row_table_manifest_and_key_template_agree(first_run: FinishedRun, row: Any):
    engine, run_id = first_run.pipeline.systems.engine, first_run.handle.run_id
    features = [feature.feature_name for feature in registry.read_features(engine, run_id)]
    bidding = first_run.read_json("manifest.json")["bidding"]
    assert row.features_used.split(",") == features == bidding["features"]
    macro = registry.read_macro(engine, run_id)
    assert macro.macro_combination == bidding["macro_combination"]
    templates = {m["feature_name"]: m["macro_template"] for m in row.config_snapshot["inputs"]["feature_macros"]}
    assert macro.macro_combination.split("|") == [templates[feature] for feature in features]
    bids = table(first_run, "suggested_bids.csv")
    assert bids.columns[1 : 1 + len(features)].tolist() == features


def test_the_config_file_is_the_frozen_snapshot(first_run: FinishedRun, row: Any):
    assert first_run.read_json("config.json") == row.config_snapshot
    assert row.config_snapshot["sources"]["npi_enabled"] == "entity"


def test_the_manifest_and_the_registry_list_every_object_with_its_size_and_checksum(
    first_run: FinishedRun, outputs: dict[str, Any]
):
    handle, store = first_run.handle, first_run.pipeline.systems.store
    names = {key.rsplit("/", 1)[1] for key in store.list_keys(handle.output_uri)}
    manifest = {item["name"]: item for item in first_run.read_json("manifest.json")["objects"]}
    assert names == set(outputs) == {*manifest, "manifest.json"}
    for name in names:
        content = first_run.read(name)
        assert (outputs[name].byte_count, outputs[name].sha256) == (len(content), sha256(content).hexdigest())
    for name, item in manifest.items():
        output = outputs[name]
        assert (item["byte_count"], item["sha256"]) == (output.byte_count, output.sha256)
        assert (item["row_count"], item["output_type"]) == (output.row_count, output.output_type)


@pytest.mark.parametrize("name", CSV_FILES)
def test_the_rows_of_a_csv_file_are_its_lines(first_run: FinishedRun, outputs: dict[str, Any], name: str):
    lines = first_run.read(name).decode().splitlines()
    assert outputs[name].row_count == len(lines) - 1 > 0
    assert len(list(csv.reader(lines))) == len(lines)


def test_the_served_bids_are_those_suggested_on_every_key_of_the_window(first_run: FinishedRun):
    bids, served = table(first_run, "suggested_bids.csv"), table(first_run, "memcache.csv")
    suggested = dict(zip(bids["segment_key"], bids["suggested_bid_cpm"], strict=True))
    assert len(suggested) == len(bids)
    assert suggested == dict(zip(served["segment_key"], served["bid"], strict=True))
    assert len(served) == first_run.pipeline.row(first_run.handle).total_segments
    assert [key for key in served["segment_key"] if None in split_key(key)]
    assert set(bids["is_served"]) == {"True"} or set(bids["is_served"]) == {True}


def test_every_key_is_what_the_bidder_spells_from_the_features(first_run: FinishedRun):
    bids = table(first_run, "suggested_bids.csv")
    features = first_run.read_json("manifest.json")["bidding"]["features"]
    spelled = [segment_key(values) for values in bids[features].astype(str).itertuples(index=False, name=None)]
    assert bids["segment_key"].tolist() == spelled


def test_bids_keep_the_cap_and_expected_win_rates_meet_the_target(first_run: FinishedRun):
    bids, settings = table(first_run, "suggested_bids.csv"), first_run.read_json("config.json")
    assert bids["suggested_bid_cpm"].between(0.01, settings["technical"]["max_bid_cpm"]).all()
    rate = np.average(bids["expected_win_rate"].astype(float), weights=bids["bids"])
    assert rate == pytest.approx(settings["business"]["target_win_rate"], abs=0.02)


@pytest.mark.parametrize(("name", "low", "high"), [("domain_multipliers", 0.6, 1.5), ("npi_multipliers", 0.7, 3.0)])
def test_multipliers_have_a_request_weighted_mean_of_one_within_their_bounds(
    first_run: FinishedRun, name: str, low: float, high: float
):
    multipliers = table(first_run, f"{name}.csv")
    assert np.average(multipliers["multiplier"], weights=multipliers["bids"]) == pytest.approx(1.0, abs=1e-8)
    assert multipliers["multiplier"].between(low, high).all()


def test_no_professional_is_named_anywhere_but_in_the_file_of_their_multipliers(
    first_run: FinishedRun, log: Events, tmp_path: Path
):
    npis = {npi for npi in log.bids["npi"].unique().to_pylist() if npi}
    engine, run_id = first_run.pipeline.systems.engine, first_run.handle.run_id
    texts = {name: first_run.read(name).decode() for name in CSV_FILES[:3]}
    for name in ("config.json", "metrics.json", "manifest.json", "win_rate_model.txt"):
        texts[name] = first_run.read(name).decode()
    texts["log records"] = first_run.log_text
    texts["opt_run_metrics"] = repr(registry.read_metrics(engine, run_id))
    texts["opt_runs"] = first_run.pipeline.row(first_run.handle).model_dump_json()
    assert len(npis) > 1_000
    assert "snowflake.connector" in first_run.log_text
    assert {name: words(text) & npis for name, text in texts.items() if words(text) & npis} == {}
    assert words(first_run.read("npi_multipliers.csv").decode()) & npis


def words(text: str) -> set[str]:
    """Return the numbers of a text: an NPI has ten digits."""
    return {word for word in "".join(char if char.isalnum() else " " for char in text).split() if word.isdigit()}


def test_metrics_are_strict_json(first_run: FinishedRun):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for name in ("metrics.json", "config.json", "manifest.json"):
        json.loads(first_run.read(name), parse_constant=refuse)
