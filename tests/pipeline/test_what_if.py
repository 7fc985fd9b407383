"""What a run would forecast with other settings, from what it published."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import pandas as pd
import pytest
from cli.conftest import run
from pipeline.driver import ENTITY, LATER, NEXT_DAY, WISH, Pipeline
from pipeline.first_run import FinishedRun
from sqlalchemy import update
from typer.testing import Result

from lab.stack import LocalStack
from optimizer.artifacts.manifest import read_manifest
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import tables
from optimizer.control_plane.engine import transaction
from optimizer.core.records import run_files
from optimizer.errors import ConfigError, RunStateError
from optimizer.runs.handle import RunHandle
from optimizer.runs.pricing import Priceable
from optimizer.runs.what_if import WhatIf, load_what_if

FORECAST = ("win_rate", "cpm", "margin")


def load(pipeline: Pipeline, handle: RunHandle, *, now: datetime = NEXT_DAY) -> WhatIf:
    return load_what_if(handle.run_id, engine=pipeline.systems.engine, store=pipeline.systems.store, now=now)


def read_metrics(pipeline: Pipeline, handle: RunHandle) -> dict[str, Any]:
    return json.loads(pipeline.systems.store.get_bytes(handle.output_uri + run_files.METRICS))


def window(first_run: FinishedRun) -> dict[str, str]:
    """Return run values that read the log that the first run read."""
    row = first_run.pipeline.row(first_run.handle)
    return {name: getattr(row, name).date().isoformat() for name in ("data_start_dt", "data_end_dt")}


@pytest.fixture(scope="module")
def live(new_pipeline, first_run: FinishedRun) -> Pipeline:
    """Return a control plane on which the first run is live."""
    pipeline: Pipeline = new_pipeline(copy_of=first_run.pipeline)
    row = pipeline.row(first_run.handle)
    assert row.s3_output_path == first_run.handle.output_uri
    return pipeline


@pytest.fixture(scope="module")
def what_if(live: Pipeline, first_run: FinishedRun) -> WhatIf:
    return load(live, first_run.handle)


def test_the_runs_own_values_give_its_own_bids_to_the_last_bit(what_if: WhatIf, first_run: FinishedRun):
    store, uri = first_run.pipeline.systems.store, first_run.handle.staging_uri
    staged = pd.read_parquet(io.BytesIO(store.get_bytes(uri + run_files.BIDS)))
    pd.testing.assert_frame_equal(what_if.now.bids[staged.columns], staged, check_exact=True)


def test_its_present_figures_are_those_that_it_published(what_if: WhatIf, first_run: FinishedRun):
    now, metrics = asdict(what_if.price({}).now), first_run.read_json("metrics.json")
    for name in FORECAST:
        assert now[name]["value"] == metrics["bidding"][f"expected_{name}"]
        for end in ("low", "high"):
            assert now[name][end] == metrics["forecast"][f"expected_{name}_{end}"]
    assert now["shadow_price"]["value"] == metrics["bidding"]["shadow_price_cpm"]
    assert now["spend_per_day"]["value"] == metrics["forecast"]["expected_spend_per_day"]


@pytest.fixture(scope="module")
def same_day_run(new_pipeline, first_run: FinishedRun) -> tuple[Pipeline, RunHandle]:
    """Return a run of the first run's day on its log, with the values of WISH; and its pipeline."""
    pipeline: Pipeline = new_pipeline(copy_of=first_run.pipeline)
    return pipeline, pipeline.complete("second", now=LATER, **window(first_run), **WISH)


@pytest.mark.parametrize(("now", "second"), [(LATER, "same_day_run"), (NEXT_DAY, "dry_run")])
def test_a_run_with_the_previewed_values_forecasts_what_the_preview_said(
    live: Pipeline, first_run: FinishedRun, now: datetime, second: str, request: pytest.FixtureRequest
):
    """The daily step starts from what is live now; with the jitter of its run_id the run is the preview itself."""
    what_if = load(live, first_run.handle, now=now)
    pipeline, handle = request.getfixturevalue(second)
    forecast = load(pipeline, handle, now=now).now_figures
    previewed = what_if.price(WISH).proposed
    assert previewed.shadow_price.value == pytest.approx(forecast.shadow_price.value, rel=1e-6)
    same_jitter = asdict(replace(what_if, run_id=handle.run_id).price(WISH).proposed)
    for name in (*FORECAST, "spend_per_day"):
        assert same_jitter[name] == pytest.approx(asdict(forecast)[name], rel=1e-9)
    for name in ("win_rate", "cpm"):
        assert getattr(previewed, name).value == pytest.approx(getattr(forecast, name).value, rel=0.02)


def test_every_figure_lies_within_its_interval_and_every_limit_is_there(what_if: WhatIf):
    proposal = what_if.price({"target_win_rate": 0.4})
    for figures in (proposal.now, proposal.proposed, proposal.settled):
        assert set(figures.limits) == {"cap", "floor", "margin", "evidence", "step"}
        known = [figures.win_rate, figures.cpm, figures.spend_per_day, figures.shadow_price, *figures.limits.values()]
        assert all(one.low <= one.value <= one.high for one in known)
    assert proposal.settled.limits["step"].value == 0.0


def test_a_lower_cap_moves_the_segments_that_it_binds_the_most_money_first(what_if: WhatIf):
    cap = float(what_if.now.bids["suggested_bid_cpm"].median())
    proposal = what_if.price({"max_bid_cpm": cap})
    moves = proposal.moves
    assert len(moves) == min(20, proposal.moved_segments) > 0
    assert all(move.proposed_cpm is None or move.proposed_cpm <= cap for move in moves)
    assert "cap" in {move.cause for move in moves}
    money = [abs(move.spend_change) for move in moves]
    assert money == sorted(money, reverse=True)
    assert proposal.proposed.limits["cap"].value > proposal.now.limits["cap"].value


def test_a_move_starts_at_the_served_bid_and_keeps_the_daily_step(what_if: WhatIf):
    served = what_if.now.bids.set_index("segment_key")["suggested_bid_cpm"]
    for move in what_if.price({"target_win_rate": 0.5}).moves:
        assert move.now_cpm == served[move.segment_key]
        if move.cause not in ("margin", "cap", "floor"):
            assert abs(move.change) <= max(what_if.settings.daily_step_limit, 0.01 / move.now_cpm) + 1e-9


def test_a_wish_beyond_the_trust_band_says_on_how_many_requests(what_if: WhatIf):
    """Where the log knows no bid above 4.00, a band of a quarter more ends the bids that a higher target asks for."""
    known = what_if.next_run.learned
    narrow = replace(known, report=known.report.model_copy(update={"served_bid_high_cpm": 4.0}))
    narrowed = replace(what_if, next_run=Priceable.of(narrow, None))
    wish = {"target_win_rate": 0.6, "target_margin": 0.0, "max_bid_cpm": 1000.0}
    evidence = narrowed.price(wish).evidence
    settled = narrowed.next_run.plan(
        narrowed.settings_with(wish),
        replace(narrowed.next_run.policy(narrowed.settings_with(wish)), step_limit=float("inf")),
        seed=what_if.run_id,
    ).bids
    ended = settled["reason"] == "trust_band"
    assert evidence.high_cpm == 5.0 and settled.loc[ended, "planned_bid_cpm"].max() <= 5.0
    assert evidence.share_above == pytest.approx(settled.loc[ended, "requests"].sum() / settled["requests"].sum())
    assert evidence.share_above > 0.3 > what_if.price({}).evidence.share_above


def test_the_frontier_wins_more_at_a_higher_target(what_if: WhatIf):
    points = what_if.frontier({}, targets=[0.1, 0.2, 0.3])
    won = [point.win_rate for point in points]
    assert won == sorted(won) and [point.target_win_rate for point in points] == [0.1, 0.2, 0.3]
    assert len(what_if.frontier({"target_win_rate": 0.4})) == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lookback_days": 30}, "lookback_days cannot be changed without a new run"),
        ({"target_winrate": 0.3}, "target_winrate cannot be changed"),
        ({"target_win_rate": 1.4}, "target_win_rate=1.4 is above its maximum 0.99"),
    ],
)
def test_what_needs_training_or_is_out_of_bounds_is_refused(what_if: WhatIf, changes, message):
    with pytest.raises(ConfigError, match=message):
        what_if.price(changes)


def test_no_professional_and_no_domain_is_named_in_what_is_published(first_run: FinishedRun, tmp_path):
    table = pd.read_parquet(first_run.save(run_files.PRICING_MULTIPLIERS, tmp_path))
    assert not {"npi", "domain"} & set(table.columns)
    assert table.select_dtypes(["object", "string"]).columns.tolist() in ([], ["kind"], ["day", "kind"])


def test_a_dry_run_is_looked_at_in_the_same_way_and_steps_from_what_is_live(
    dry_run: tuple[Pipeline, RunHandle], live: Pipeline, first_run: FinishedRun
):
    found = load(*dry_run)
    assert found.settings.target_win_rate == WISH["target_win_rate"] and found.served_run_id == first_run.handle.run_id
    assert found.price({}).moved_segments == 0
    live_bids = load(live, first_run.handle).now.bids.set_index("segment_key")["suggested_bid_cpm"]
    stepped = found.next_run.segments.set_index("segment_key")["step_from_cpm"]
    assert stepped.to_dict() == live_bids.reindex(stepped.index).to_dict()


@pytest.fixture
def optimizer(live: Pipeline, systems: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return what runs `optimizer …` on the control plane with the live run."""
    settings = systems.settings
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{settings.objects_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", settings.objects_access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings.objects_secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return lambda *arguments: run(*arguments, url=str(live.systems.engine.url))


def test_the_command_prints_now_against_proposed_the_frontier_and_the_moves(optimizer, first_run: FinishedRun):
    text = optimizer("what-if", ENTITY, "target_win_rate=0.2", "max_bid_cpm=12").stdout
    assert f"What if {ENTITY} had target_win_rate=0.2 max_bid_cpm=12.0 (run {first_run.handle.run_id}" in text
    for row in ("win rate", "CPM", "spend a day", "margin", "shadow price", "bids at max_bid_cpm"):
        line = next(line for line in text.splitlines() if line.startswith(f"│ {row} "))
        assert line.count(" to ") == 3  # an interval for now, proposed, and after daily steps
    assert "Target against price" in text and "The 20 largest of" in text


def test_the_command_gives_the_same_answer_as_json(optimizer, what_if: WhatIf):
    shown = json.loads(optimizer("what-if", ENTITY, "target_win_rate=0.2", "--json").stdout)
    proposal = what_if.price({"target_win_rate": 0.2})
    assert shown["wish"] == {"target_win_rate": 0.2} and shown["entity"] == ENTITY
    assert shown["now"] == asdict(proposal.now) and len(shown["frontier"]) == 9
    assert shown["moved_segments"] > 0 and len(shown["moves"]) <= 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["target_win_rate"], "'target_win_rate' is not a setting; write KEY=VALUE"),
        (["lookback_days=30"], "lookback_days cannot be changed without a new run"),
        (["--run", "20200101_000000"], "20200101_000000"),
    ],
)
def test_the_command_refuses_what_it_cannot_price(optimizer, arguments, message):
    result = optimizer("what-if", ENTITY, *arguments)
    assert (result.exit_code, result.stdout) == (1, "") and message in result.stderr


def test_an_entity_without_a_live_run_says_to_name_one(optimizer, live: Pipeline):
    result = optimizer("what-if", "drugs_com")
    assert result.exit_code == 1 and "has no live run; choose a completed run or dry run with --run" in result.stderr


def set_manifest_sha256(pipeline: Pipeline, run_id: str, value: str | None) -> None:
    with transaction(pipeline.systems.engine) as connection:
        of_run = tables.runs.c.run_id == run_id
        connection.execute(update(tables.runs).where(of_run).values(manifest_sha256=value))


def test_a_run_of_an_older_version_says_to_run_once_more(live: Pipeline, first_run: FinishedRun, monkeypatch):
    uri = first_run.handle.output_uri
    manifest = read_manifest(live.systems.store, uri)
    kept = [item for item in manifest.objects if item.name != run_files.PRICING_INPUTS]
    old = manifest.model_copy(update={"objects": tuple(kept)}).model_dump_json().encode()
    get = ObjectStore.get_bytes
    monkeypatch.setattr(
        ObjectStore, "get_bytes", lambda store, at: old if at == uri + "manifest.json" else get(store, at)
    )
    row = live.row(first_run.handle)
    set_manifest_sha256(live, row.run_id, None)  # an older version recorded none
    try:
        with pytest.raises(RunStateError, match=r"has no pricing_inputs.json.*run the entity once more"):
            load(live, first_run.handle)
    finally:
        set_manifest_sha256(live, row.run_id, row.manifest_sha256)
