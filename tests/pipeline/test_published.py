"""A published run is read back as it was priced, and what cannot be read says why and what to do."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from control_plane.catalog import NOW, complete_sample, fill_catalog, open_sample, sample_results, start_sample
from control_plane.databases import new_control_plane
from core.priced_runs import FEATURES, price, segment_table
from pipeline.first_run import FinishedRun
from pipeline.published_runs import metrics_of, publish_run, snapshot_of
from sqlalchemy import Engine

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.registry import register_results
from optimizer.control_plane.runs import fail_run
from optimizer.core.live.performance import forecast_of_bids
from optimizer.core.pricing.bid_steps import UNEXPLAINED
from optimizer.core.pricing.explanation import Explanation, explain_bid
from optimizer.core.pricing.run_comparison import compare_runs
from optimizer.errors import ArtifactError, RunStateError
from optimizer.runs.planned_bids import read_planned_bids
from optimizer.runs.published_run import NUMBER_COLUMNS, PublishedRun, read_published
from optimizer.runs.systems import Systems

BUCKET = "published"
_numbers = count(1)


@dataclass(frozen=True)
class Publisher:
    """A control plane with the objects of its runs."""

    engine: Engine
    store: ObjectStore
    base_uri: str
    folder: Path

    def publish(self, day: int = 0, *, change: Callable[..., Any] = lambda files: None, **values: Any) -> str:
        """Return the run_id of a run of that day."""
        return publish_run(
            price(segment_table(day), **values),
            engine=self.engine,
            store=self.store,
            base_uri=self.base_uri,
            folder=self.folder / str(day),
            now=NOW + timedelta(days=day),
            change=change,
        )

    def systems(self) -> Systems:
        """The control plane and the objects; there is no warehouse."""
        return Systems(engine=self.engine, store=self.store, connect_warehouse=_no_warehouse)

    def read(self, run_id: str) -> PublishedRun:
        return read_published(run_id, engine=self.engine, store=self.store)


@pytest.fixture
def publisher(systems: LocalStack, tmp_path: Path) -> Iterator[Publisher]:
    engine = new_control_plane(tmp_path / "control_plane.db", fill_catalog)
    systems.ensure_bucket(BUCKET)
    client = systems.connect_objects()
    yield Publisher(engine, ObjectStore(client), f"s3://{BUCKET}/{next(_numbers)}/", tmp_path)
    client.close()


def open_at(engine: Engine, *, hours: int) -> str:
    """Return the run_id of a run that started this many hours after the day 0."""
    now = NOW + timedelta(hours=hours)
    run = open_sample(engine, f"after {hours} hours", now=now)
    start_sample(engine, run.run_id, now=now)
    return run.run_id


def _no_warehouse() -> Any:
    raise AssertionError("a published run is read without the warehouse")


def explain(published: PublishedRun, row: pd.Series) -> Explanation:
    return explain_bid(
        row,
        features=published.features,
        pricing=published.pricing,
        win_rate=published.landscape.win_rate,
    )


def test_the_bids_come_back_as_they_were_priced(publisher: Publisher):
    priced = price(segment_table())
    written, read = priced.bids.dropna(subset="suggested_bid_cpm"), publisher.read(publisher.publish()).bids
    for name in ("segment_key", "reason", "is_served", "is_held", "is_slope_identified"):
        assert read[name].tolist() == written[name].tolist()
    numbers = list(NUMBER_COLUMNS)
    np.testing.assert_allclose(read[numbers].astype(float), written[numbers].astype(float), rtol=1e-9)


def test_the_keys_that_a_run_blocks_are_read_from_what_the_bidder_reads(publisher: Publisher):
    bids = price(segment_table()).bids
    blocked = bids.loc[bids["suggested_bid_cpm"].isna(), "segment_key"]
    published = publisher.read(publisher.publish())
    assert published.blocked == set(blocked) != set()
    assert not published.blocked & set(published.bids["segment_key"])


def test_keys_with_a_null_value_are_in_what_the_bidder_reads(publisher: Publisher):
    """The bidder builds such a key from its request, so it has to find it."""
    run_id = publisher.publish()
    bids = publisher.read(run_id).bids
    null = bids[bids["segment_key"].str.contains("%EMPTY")]
    assert len(null) == 1 and null["is_served"].all()
    planned = read_planned_bids(run_id, publisher.systems())
    assert planned.planned_cpm[null["segment_key"].iloc[0]] == pytest.approx(null["planned_bid_cpm"].iloc[0])


def test_the_daily_step_is_measured_from_what_was_served_before_today(publisher: Publisher):
    """A second run of a calendar day may move a bid no further than the first."""
    run_id = publisher.publish()
    same_day, next_day = (open_at(publisher.engine, hours=hours) for hours in (5, 24))
    served = publisher.read(run_id).bids.set_index("segment_key")

    def step_from(next_run_id: str | None) -> dict[str, float]:
        return read_planned_bids(run_id, publisher.systems(), next_run_id=next_run_id).step_from_cpm

    assert step_from(next_day) == step_from(None) == pytest.approx(served["suggested_bid_cpm"].to_dict())
    assert step_from(same_day) == pytest.approx(served["step_from_cpm"].to_dict(), nan_ok=True)
    assert step_from(same_day) != step_from(next_day)


def test_a_run_is_held_to_its_forecast_by_expected_requests_or_by_bids_where_an_older_run_has_none(
    publisher: Publisher,
):
    bids = publisher.read(publisher.publish()).bids
    for name, table in (("requests", bids), ("bids", bids.drop(columns=["requests"]))):
        weights = bids[name].to_numpy(float)
        expected = np.average(bids["expected_win_rate"].astype(float), weights=weights)
        assert forecast_of_bids(table).win_rate == pytest.approx(expected)
    assert forecast_of_bids(bids).win_rate != pytest.approx(forecast_of_bids(table).win_rate, rel=1e-6)


def test_a_run_of_an_older_version_is_stepped_from_by_what_it_serves(publisher: Publisher):
    def drop(files):
        path = files["suggested_bids.csv"][1]
        pd.read_csv(path).drop(columns=["step_from_cpm"]).to_csv(path, index=False)

    run_id = publisher.publish(change=drop)
    found = read_planned_bids(run_id, publisher.systems(), next_run_id=open_at(publisher.engine, hours=5))
    assert found.step_from_cpm and set(found.step_from_cpm) == set(found.planned_cpm)


def test_pricing_settings_and_features_are_those_of_the_run(publisher: Publisher):
    priced = price(segment_table(), target_margin=0.2, value_trust=0.95)
    published = publisher.read(publisher.publish(target_margin=0.2, value_trust=0.95))
    assert published.pricing == priced.pricing
    assert published.features == FEATURES
    assert dict(published.metrics) == metrics_of(priced) and published.config.model_dump() == snapshot_of(priced)


def test_the_win_rate_curves_are_made_again_with_the_mix_of_multipliers(publisher: Publisher):
    published = publisher.read(publisher.publish())
    bids = published.bids
    again = published.landscape.win_rate(bids["level"], bids["slope"], bids["suggested_bid_cpm"])
    np.testing.assert_allclose(again, bids["expected_win_rate"], rtol=1e-8)


@pytest.mark.parametrize("rule", [{}, {"win_rate_scope": "segment"}, {"auction_type": "second_price"}], ids=str)
def test_the_wanted_bids_are_made_again_by_the_runs_own_rule(publisher: Publisher, rule: dict[str, Any]):
    published = publisher.read(publisher.publish(target_win_rate=0.7, **rule))
    bids, pricing = published.bids, published.pricing
    worth = pricing.value_trust * (1 - pricing.settings.target_margin) * bids["value_cpm"].fillna(0.0)
    worth = (worth + pricing.shadow_price_cpm).to_numpy()
    again = published.best_response(bids["level"].to_numpy(), bids["slope"].to_numpy(), worth)
    np.testing.assert_allclose(again, bids["wanted_bid_cpm"], rtol=1e-6)


def test_every_bid_that_was_read_back_can_be_explained(publisher: Publisher):
    published = publisher.read(publisher.publish(target_win_rate=0.7))
    for _, row in published.bids.iterrows():
        assert UNEXPLAINED not in [step.name for step in explain(published, row).steps]


def test_a_run_of_the_pipeline_is_explained_to_the_last_bid_by_the_curves_of_its_files(first_run: FinishedRun):
    systems = first_run.pipeline.systems
    published = read_published(first_run.handle.run_id, engine=systems.engine, store=systems.store)
    bids = published.bids
    again = published.landscape.win_rate(bids["level"], bids["slope"], bids["suggested_bid_cpm"])
    np.testing.assert_allclose(again, bids["expected_win_rate"], rtol=1e-6)
    for _, row in bids.iterrows():
        explanation = explain(published, row)
        assert UNEXPLAINED not in [step.name for step in explanation.steps]
        assert explanation.is_served == (explanation.not_served_because is None)
    same = compare_runs(published.for_comparison(), published.for_comparison(), top=1)
    assert same.segments.mean_log_change == 0.0 and same.segments.segments_in_both == len(bids)


def test_two_published_runs_compare_as_the_tables_that_they_were_priced_with(publisher: Publisher):
    first, second = (publisher.read(publisher.publish(day)).for_comparison() for day in (0, 1))
    found = compare_runs(first, second, top=1000)
    before, after = (price(segment_table(day)) for day in (0, 1))
    expected = compare_runs(before.compared("a"), after.compared("b"), top=1000)
    assert found.segments.mean_parts == pytest.approx(expected.segments.mean_parts, abs=1e-7)
    facts = {item.name: item.before for item in found.figures}
    assert (facts["entity"], facts["features"], facts["validation"]) == ("drugs_hcp", "adspace, region", "passed")
    assert facts["window (UTC)"] == "2026-01-04 .. 2026-02-03"


def test_a_run_that_is_under_way_or_failed_or_published_nothing_is_refused_with_its_state(publisher: Publisher):
    engine = publisher.engine
    running = open_sample(engine, "running", now=NOW).run_id
    with pytest.raises(RunStateError, match=f"run {running} is pending and has no bids yet; wait"):
        publisher.read(running)
    start_sample(engine, running)
    with pytest.raises(RunStateError, match=f"run {running} is running and has no bids yet; wait"):
        publisher.read(running)
    fail_run(engine, running, message="extract: no login", now=NOW)
    with pytest.raises(RunStateError, match=rf"run {running} is failed and has no bids \(extract: no login\); `optim"):
        publisher.read(running)
    with pytest.raises(RunStateError, match="run nobody is not in opt_runs"):
        publisher.read("nobody")


def test_a_completed_run_whose_objects_are_gone_names_the_object_and_the_next_step(publisher: Publisher):
    run_id = complete_sample(publisher.engine, "gone")
    with pytest.raises(ArtifactError, match=rf"run {run_id}: reading s3://.*manifest\.json: .*restore the objects"):
        publisher.read(run_id)


def test_a_completed_run_without_an_address_is_refused(publisher: Publisher):
    run = open_sample(publisher.engine, "nowhere")
    start_sample(publisher.engine, run.run_id)
    results = sample_results(s3_output_path="")
    register_results(publisher.engine, run.run_id, results=results, now=NOW)
    with pytest.raises(RunStateError, match=f"run {run.run_id} is completed but names no outputs"):
        publisher.read(run.run_id)


@pytest.mark.parametrize("name", ["suggested_bids.csv", "memcache.csv", "metrics.json", "config.json"])
def test_a_file_that_changed_since_is_refused(publisher: Publisher, name: str):
    run_id = publisher.publish()
    publisher.store.put_bytes(f"{publisher.base_uri}{run_id}/{name}", b"{}")
    with pytest.raises(ArtifactError, match=rf"run {run_id}: .*{name} is not what run {run_id} wrote.*restore"):
        publisher.read(run_id)


def test_a_file_that_was_never_published_is_named(publisher: Publisher):
    run_id = publisher.publish(change=lambda files: files.pop("metrics.json"))
    with pytest.raises(ArtifactError, match=rf"run {run_id} has no metrics\.json"):
        publisher.read(run_id)


def test_bids_of_an_older_version_name_the_columns_that_they_lack(publisher: Publisher):
    def drop(files):
        path = files["suggested_bids.csv"][1]
        pd.read_csv(path).drop(columns=["own_share", "is_held"]).to_csv(path, index=False)

    run_id = publisher.publish(change=drop)
    with pytest.raises(
        ArtifactError, match=rf"run {run_id}: its suggested_bids\.csv lacks own_share, is_held, .*again"
    ):
        publisher.read(run_id)


def test_metrics_of_an_older_version_name_the_figures_that_they_lack(publisher: Publisher):
    def drop(files):
        path = files["metrics.json"][1]
        metrics = json.loads(path.read_text())
        del metrics["link"], metrics["bidding"]["value_trust"]
        path.write_text(json.dumps(metrics))

    run_id = publisher.publish(change=drop)
    with pytest.raises(ArtifactError, match=rf"run {run_id}: its metrics\.json lacks value_trust, link, .*run the"):
        publisher.read(run_id)
