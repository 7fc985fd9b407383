"""`optimizer explain` and `optimizer diff`, on published runs and a real object server."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.conftest import Command, run
from control_plane.catalog import NOW
from core.priced_runs import PricedRun, price, segment_table
from pipeline.published_runs import publish_run
from sqlalchemy import Engine

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import runs
from optimizer.core.pricing.run_comparison import PARTS
from optimizer.runs.published_run import read_published

BUCKET = "explained"
DAY = timedelta(days=1)
THICK = "a0|r%203%7C"


@pytest.fixture
def bucket() -> str:
    return BUCKET


@pytest.fixture
def publish(engine: Engine, store: ObjectStore, tmp_path: Path) -> Callable[..., str]:
    """Return what publishes a run of a later and later day, and returns its run_id."""

    def publish(priced: PricedRun, day: int = 1, **fields: Any) -> str:
        place = {"base_uri": f"s3://{BUCKET}/{tmp_path.name}/", "folder": tmp_path / str(day)}
        return publish_run(priced, engine=engine, store=store, now=NOW + day * DAY, **place, **fields)

    return publish


def test_explain_prints_the_numbers_of_the_segments_row(
    publish: Callable[..., str], engine: Engine, store: ObjectStore, optimizer_json: Any
):
    run_id = publish(price(segment_table()))
    row = read_published(run_id, engine=engine, store=store).bids.set_index("segment_key").loc[THICK]
    shown = optimizer_json("explain", run_id, THICK)
    assert (shown["run_id"], shown["segment_key"]) == (run_id, THICK)
    assert shown["features"] == {"adspace": "a0", "region": "r 3|"}
    for section in ("evidence", "curve"):
        own = {name: value for name, value in shown[section].items() if name in row.index and value is not None}
        assert own and own == {name: pytest.approx(row[name]) for name in own}
    for name in ("wanted_bid_cpm", "planned_bid_cpm", "jitter", "suggested_bid_cpm", "expected_win_rate"):
        assert shown[name] == pytest.approx(row[name])
    assert [step["name"] for step in shown["steps"]] == [
        "wanted", "trust_band", "hidden_floor", "step", "floor", "margin", "cap", "jitter"
    ]  # fmt: skip
    assert shown["steps"][-1]["bid_cpm"] == row["suggested_bid_cpm"]


def test_the_printed_explanation_shows_every_step_the_reason_and_that_it_is_served(
    publish: Callable[..., str], optimizer: Command, optimizer_json: Any
):
    priced = price(segment_table())
    run_id = publish(priced)
    biddable = priced.bids.dropna(subset="suggested_bid_cpm")
    assert biddable["is_served"].all()
    for key in biddable.drop_duplicates("reason")["segment_key"]:
        shown, text = optimizer_json("explain", run_id, key), optimizer("explain", run_id, key).stdout
        assert f"Segment {key} of run {run_id}" in text
        assert "From the wanted bid to the suggested bid" in text and "best before" not in text
        for step in shown["steps"]:
            line = next(line for line in text.splitlines() if line.startswith(f"│ {step['name']} "))
            bid, _, moved = (cell.strip() for cell in line.split("│")[4:7])
            assert (bid, moved == "yes") == (f"{step['bid_cpm']:.2f}", step["has_moved"] and step["name"] != "wanted")
        flat = " ".join(text.split())
        assert shown["reason_text"] in flat
        assert "It is served." in flat and shown["not_served_because"] is None


def test_a_wrong_key_is_one_line_with_the_nearest_keys(publish: Callable[..., str], optimizer: Command):
    priced = price(segment_table())
    run_id = publish(priced)
    count = priced.bids["suggested_bid_cpm"].notna().sum()
    for flags in ((), ("--json",)):
        result = optimizer("explain", run_id, "a0|r 3|", *flags)
        assert (result.exit_code, result.stdout) == (1, "")
        assert len(result.stderr.splitlines()) == 1
        assert f"no bid for segment 'a0|r 3|' among its {count} keys" in result.stderr
        assert THICK in result.stderr


def test_a_blocked_key_says_that_it_is_blocked_and_what_to_compare(publish: Callable[..., str], optimizer: Command):
    priced = price(segment_table())
    blocked = priced.bids[priced.bids["suggested_bid_cpm"].isna() & priced.bids["region"].notna()]
    run_id, key = publish(priced), blocked["segment_key"].iloc[0]
    result = optimizer("explain", run_id, key)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"run {run_id} blocks segment {key!r}" in result.stderr and "nearest" not in result.stderr
    assert "compare its floor, max_bid_cpm and target_margin" in result.stderr


def test_diff_attributes_each_bid_so_that_the_parts_add_up(publish: Callable[..., str], optimizer_json: Any):
    first = publish(price(segment_table(0)), 1)
    second = publish(price(segment_table(1), run_id="x", target_win_rate=0.5), 2)
    shown = optimizer_json("diff", first, second, "--top", "7")
    assert (shown["run_before"], shown["run_after"], shown["has_same_keys"]) == (first, second, True)
    assert shown["config"] == [{"name": "target_win_rate", "before": 0.3, "after": 0.5}]
    changes = shown["segments"]["largest_changes"]
    assert len(changes) == 7
    for change in changes:
        assert list(change["parts"]) == list(PARTS)
        planned = np.log(change["planned_after_cpm"] / change["planned_before_cpm"])
        assert sum(change["parts"].values()) == pytest.approx(planned, abs=1e-12)
        suggested = np.log(change["suggested_after_cpm"] / change["suggested_before_cpm"])
        assert planned + change["jitter"] == pytest.approx(suggested, abs=1e-12)


def test_the_printed_difference_shows_figures_config_and_changes(
    publish: Callable[..., str], optimizer: Command, optimizer_json: Any
):
    first = publish(price(segment_table(0)), 1)
    second = publish(price(segment_table(1), run_id="x", target_win_rate=0.5), 2)
    shown, text = optimizer_json("diff", first, second), optimizer("diff", first, second).stdout
    assert f"From run {first} to run {second}" in text
    assert any(
        line.split()[1::2] == ["target_win_rate", "0.3", "0.5"] for line in text.splitlines() if "target_" in line
    )
    for change in shown["segments"]["largest_changes"]:
        line = next(line for line in text.splitlines() if change["segment_key"] in line)
        assert f"{change['planned_before_cpm']:.2f}" in line and f"{100 * change['log_change']:+.1f}" in line
        assert f"{change['reason_before']} -> {change['reason_after']}" in text


def test_a_run_against_itself_shows_no_difference(publish: Callable[..., str], optimizer: Command):
    run_id = publish(price(segment_table()))
    text = optimizer("diff", run_id, run_id).stdout
    assert "The configuration is the same." in text
    assert "Planned bids moved by +0.0 on average" in text


def test_runs_with_other_features_say_so_and_compare_by_anchor_value(
    publish: Callable[..., str], engine: Engine, store: ObjectStore, optimizer: Command, optimizer_json: Any
):
    priced = price(segment_table())
    coarse = priced.bids.drop_duplicates("adspace")
    coarse = replace(priced, bids=coarse.assign(segment_key=coarse["adspace"]).drop(columns="region"))
    first, second = publish(priced, 1), publish(coarse, 2, features=("adspace",))
    shown, text = optimizer_json("diff", first, second), " ".join(optimizer("diff", first, second).stdout.split())
    assert (shown["has_same_keys"], shown["segments"]) == (False, None)
    assert (shown["features_gone"], shown["features_new"]) == (["region"], [])
    assert (
        "The features differ: gone region; new none. So no segment key of one run means anything in the other" in text
    )
    wanted = coarse.bids.dropna(subset="suggested_bid_cpm").set_index("adspace")["planned_bid_cpm"]
    assert shown["anchors"]
    for anchor in shown["anchors"]:
        assert anchor["after_cpm"] == pytest.approx(wanted[anchor["anchor_value"]])
        assert f"{anchor['after_cpm']:.2f}" in text


ERRORS = {
    "a run that nobody knows": ("20990101_000000", "run 20990101_000000 is not in opt_runs; check the run_id"),
    "a failed run": ("failed", "extract: the warehouse denied the login"),
    "a run without objects": ("completed", "manifest.json"),
}


@pytest.mark.parametrize(("which", "message"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("command", ["explain", "diff"])
def test_a_run_that_cannot_be_read_is_one_line_on_stderr(
    engine: Engine, store: ObjectStore, optimizer: Command, command: str, which: str, message: str
):
    found = {row.status: row.run_id for row in runs.list_runs(engine)}
    run_id = found.get(which, which)
    result = optimizer(command, run_id, THICK if command == "explain" else run_id)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


@pytest.mark.parametrize("arguments", [("explain", "x", "y"), ("diff", "x", "y")], ids=" ".join)
def test_without_a_control_plane_the_commands_say_how_to_get_one(tmp_path: Path, arguments: tuple[str, ...]):
    result = run(*arguments, home=tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "OPTIMIZER_CONTROL_PLANE_URL is not set" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_objects_are_served_only_while_the_command_reads_them(engine: Engine, url: str, tmp_path: Path):
    stack = LocalStack.open(tmp_path)
    stack.start("objects")
    try:
        stack.wait_ready(60)
        stack.ensure_bucket(BUCKET)
        client = stack.connect_objects()
        priced = price(segment_table())
        store = ObjectStore(client)
        run_id = publish_run(priced, engine=engine, store=store, base_uri=f"s3://{BUCKET}/", folder=tmp_path / "files")
        client.close()
    finally:
        stack.stop()
    result = run("explain", run_id, THICK, "--json", "--local", home=tmp_path)
    assert (result.exit_code, json.loads(result.stdout)["segment_key"]) == (0, THICK)
    assert set(stack.status().values()) == {"stopped"}
