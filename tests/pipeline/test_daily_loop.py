"""Days one after another: what a run published is bid on the next day's auctions, and the next run learns from that."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pipeline.driver import BIDS, DAYS, ENTITY, NOW, Pipeline
from pipeline.first_run import FinishedRun
from reporting.stories import Page
from servers.embedded import connect_schema, load_events

from lab.market.auctions import draw_requests
from lab.market.events import serve
from lab.market.published import read_bid_table
from lab.market.tables import Events, concat_events
from lab.market.world import World
from lab.stack import LocalStack
from optimizer.control_plane import deployments
from optimizer.control_plane.audit import Author
from optimizer.presentation.formats import amount, percent
from optimizer.runs.handle import RunHandle

LIVE_DAYS = 3


@dataclass(frozen=True)
class LiveDay:
    """A run that went live, with its files in a folder, and the log that came of it."""

    run: RunHandle
    folder: Path

    def json(self, name: str):
        return json.loads((self.folder / name).read_text())

    def bids(self) -> pd.DataFrame:
        table = pd.read_csv(io.BytesIO((self.folder / "suggested_bids.csv").read_bytes()), dtype={"segment_key": str})
        return table.set_index("segment_key")


@pytest.fixture(scope="module")
def days(
    systems: LocalStack,
    world: World,
    log: Events,
    first_run: FinishedRun,
    new_pipeline: Callable[..., Pipeline],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[LiveDay]:
    """Return three days of live bidding after the log, the first by the first run, on a warehouse of their own."""
    copied = new_pipeline(copy_of=first_run.pipeline)
    daily = replace(copied.systems, connect_warehouse=lambda: connect_schema(systems, "daily"))
    pipeline = replace(copied, systems=daily)
    events, run, found = log, first_run.handle, []
    for number in range(LIVE_DAYS):
        now = NOW + timedelta(days=number)
        if number:
            with connect_schema(systems, "daily") as connection:
                load_events(connection, events, folder=tmp_path_factory.mktemp("log"))
            run = pipeline.complete(f"day{number}", now=now)
            go_live(pipeline, run, now)
        found.append(LiveDay(run, fetch(run, pipeline, tmp_path_factory.mktemp(run.run_code))))
        requests = draw_requests(world, start_day=now.date(), days=1, count=BIDS // DAYS, seed=7)
        events = concat_events([events, serve(world, requests, policy=read_bid_table(found[-1].folder))])
    return found


def go_live(pipeline: Pipeline, run: RunHandle, now: datetime) -> None:
    """Promote the run, or deploy it by hand where its warnings hold it: so short a log gives a backtest no support."""
    promotion = pipeline.promote(run, now=now)
    assert promotion["is_promoted"] or "backtest_supported" in promotion["reason"], promotion["reason"]
    if not promotion["is_promoted"]:
        split = {run.run_id: 100}
        deployments.deploy(pipeline.systems.engine, entity_code=ENTITY, split=split, author=Author("test"), now=now)


def fetch(run: RunHandle, pipeline: Pipeline, folder: Path) -> Path:
    """Copy the run's objects to the folder."""
    for key in pipeline.systems.store.list_keys(run.output_uri):
        name = key.rsplit("/", 1)[-1]
        pipeline.systems.store.get_file(run.output_uri + name, folder / name)
    return folder


def test_the_bids_of_the_day_are_those_of_memcache_csv(days):
    table = read_bid_table(days[0].folder)
    served = pd.read_csv(days[0].folder / "memcache.csv", dtype={"segment_key": str})
    assert dict(zip(served["segment_key"], served["bid"], strict=True)) == dict(table.bids)
    assert table.run_id == days[0].run.run_id and table.fallback_bid_cpm > 0
    assert len(table.domain_multipliers) and len(table.npi_multipliers)


def test_a_later_run_knows_what_earlier_ones_planned(days):
    bids, before = days[1].bids(), days[0].bids()
    shared = bids.index.intersection(before.index[before["is_served"]])
    assert len(shared) > 20
    expected = before.loc[shared, "planned_bid_cpm"]
    assert bids.loc[shared, "previous_bid_cpm"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-6)
    served = before.loc[shared, "suggested_bid_cpm"]
    assert bids.loc[shared, "step_from_cpm"].to_numpy() == pytest.approx(served.to_numpy(), rel=1e-6)
    step = (bids["suggested_bid_cpm"] - bids["step_from_cpm"]).abs() / np.maximum(0.15 * bids["step_from_cpm"], 0.01)
    assert step[~bids["reason"].isin(["margin", "cap", "floor"])].max() <= 1 + 1e-6


def test_what_earlier_forecasts_missed_corrects_the_levels_of_later_runs(days):
    corrections = [day.json("metrics.json")["bidding"]["level_correction"] for day in days]
    assert corrections[0] == 0.0
    assert all(0 < abs(correction) < 0.3 for correction in corrections[1:]), corrections
    bids = days[-1].bids()
    level = (bids["model_level"] + bids["level_shift"] + corrections[-1]) / bids["flatness"]
    assert bids["level"].to_numpy() == pytest.approx(level.to_numpy(), abs=1e-6)


def test_every_run_keeps_an_identified_slope(days):
    for day in days:
        landscape = day.json("metrics.json")["bid_landscape"]
        assert landscape["bid_coefficient_is_naive"] == 0.0
        assert 1.0 < landscape["bid_coefficient"] < 3.0


def test_the_stability_index_falls_from_day_to_day_until_it_no_longer_warns(days):
    """The first days bring bids to where they are best, by the daily step at most; after that they hardly move."""
    checks = [{check["name"]: check for check in day.json("metrics.json")["checks"]} for day in days[1:]]
    found = [check["bid_stability_index"] for check in checks]
    assert found[-1]["is_passed"], found[-1]
    assert all(after["figure"] < before["figure"] < np.log(1.15) for before, after in pairwise(found))


def test_a_run_with_an_active_one_is_backtested_against_it_or_says_why_not(days):
    assert "backtest" not in days[0].json("metrics.json")
    for day in days[1:]:
        metrics = day.json("metrics.json")
        checks = {check["name"]: check for check in metrics["checks"]}
        assert metrics["backtest"]["is_supported"] == checks["backtest_supported"]["figure"]
        assert metrics["backtest"]["replay_low"] <= metrics["backtest"]["replay_high"]
        assert {"spend_change", "bid_stability_index", "row_coverage_share_of_active"} <= set(checks)


@pytest.fixture(scope="module")
def report(days: list[LiveDay]) -> Page:
    """Return the report of the last day, as it is read."""
    return Page((days[-1].folder / "report.html").read_text())


def test_the_report_has_the_bids_of_the_published_file_in_its_search(days, report: Page):
    data, bids = json.loads(report.scripts[0]), days[-1].bids()
    features = data["features"]
    keys = ["|".join(f["parts"][f["codes"][place]] for f in features) for place in range(data["segments"])]
    assert sorted(keys) == sorted(bids.index)
    for name in ("wanted_bid_cpm", "planned_bid_cpm", "suggested_bid_cpm"):
        assert data["columns"][name] == pytest.approx(bids.loc[keys, name].to_numpy(), abs=0.00501)
    served = pd.read_csv(days[-2].folder / "memcache.csv", dtype={"segment_key": str}).set_index("segment_key")["bid"]
    fallback = days[-2].json("manifest.json")["bidding"]["fallback_bid_cpm"]
    assert data["live_bid_cpm"] == pytest.approx(served.reindex(keys).fillna(fallback).to_numpy())


def test_the_spend_by_each_feature_of_the_key_is_the_forecast_of_the_run(days, report: Page):
    bids, metrics = days[-1].bids(), days[-1].json("metrics.json")
    spend = metrics["forecast"]["expected_spend_per_day"]
    rows = [row for row in report.rows_of("spend") if len(row) == 6]
    totals = [row[1] for row in rows if row[0] == "Total"]
    features = days[-1].json("manifest.json")["bidding"]["features"]
    assert totals[: len(features)] == [amount(spend)] * len(features)
    expected = bids["requests"] * bids["expected_win_rate"] * bids["expected_cost_cpm"]
    shares = expected.groupby(bids[features[0]].astype(str)).sum().sort_values(ascending=False) / expected.sum()
    assert rows[1][:3] == [shares.index[0], amount(spend * shares.iloc[0]), percent(shares.iloc[0])]


def test_the_changes_of_the_report_are_those_of_what_bidders_find(days, report: Page):
    before, now = (pd.read_csv(day.folder / "memcache.csv", dtype={"segment_key": str}) for day in days[-2:])
    served = before.merge(now, on="segment_key", suffixes=("_before", "_now")).set_index("segment_key")
    rows = [row for row in report.rows_of("changes") if len(row) == 6][1:]
    shown = [row for row in rows if row[0].split()[0] in served.index]
    assert len(rows) == 15 and len(shown) >= 10
    for row in shown:
        both = served.loc[row[0].split()[0]]
        assert both["bid_before"] != both["bid_now"]
        assert row[1:3] == [amount(both["bid_before"]), amount(both["bid_now"])]


def test_no_professional_of_the_run_is_in_its_report(days, report: Page):
    npis = pd.read_csv(days[-1].folder / "npi_multipliers.csv", dtype={"npi": str})["npi"]
    assert len(npis) > 100
    assert [npi for npi in npis if npi in report.source] == []
    assert "Backtest" in report.text
