"""From the staged files of a run to its story and its page."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from core.noted_figures import bid_figures
from reporting.stories import REFERENCE_CPM, Page, backtest, bid_table, check, feature, read_words

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.features import Selection
from optimizer.core.pricing.expected_spend import total_spend
from optimizer.core.records import run_files
from optimizer.core.records.config_snapshot import ConfigSnapshot, RunInputs
from optimizer.core.records.validation import Validation
from optimizer.core.records.window_totals import DayCount, StagedLog
from optimizer.reporting.page import render_report
from optimizer.reporting.report_data import RunStory, SpendTable
from optimizer.runs import artifacts, staging
from optimizer.runs.handle import RunHandle
from optimizer.runs.report_inputs import gather_story
from optimizer.runs.staged_run import StagedRun
from optimizer.training.job import TrainingReport

KEY_FEATURES = ("internal_adspace_id", "geo_region_name", "os_code")
LINK = {"shifts": [0.0, 2.0], "shares": [0.25, 0.75], "unrivalled_share": 0.1}
BLANK = {bool: False, int: 1, float: 1.0, str: "2026-01-05"}
NPIS = ["1942387654", "1033214455", "1578890012"]
LOG = StagedLog(
    bid_rows=5,
    distinct_bids=5,
    usable_bids=5,
    zero_bids=0,
    first_bid_ts="2026-01-06 00:00:00",
    last_bid_ts="2026-03-06 23:59:00",
    joined_views=2,
    duplicate_views=0,
    joined_clicks=0,
    orphan_views=0,
    orphan_clicks=0,
    candidate_features=("os_code",),
    rows={},
    files={},
    days=(),
    earlier_runs={},
    earlier_forecasts={},
)
RUN = RunHandle(
    run_id="20260307_060000",
    run_code="20260307_060000",
    entity_code="drugs_hcp",
    staging_uri="s3://objects/staging/",
    output_uri="s3://objects/runs/",
)


@dataclass
class Objects:
    """An object store in memory."""

    content: dict[str, bytes] = field(default_factory=dict)

    def exists(self, uri: str) -> bool:
        return uri in self.content

    def put_bytes(self, uri: str, content: bytes) -> None:
        self.content[uri] = content

    def get_bytes(self, uri: str) -> bytes:
        return self.content[uri]

    def put_file(self, uri: str, path: Path) -> None:
        self.content[uri] = path.read_bytes()

    def get_file(self, uri: str, path: Path) -> Path:
        path.write_bytes(self.content[uri])
        return path


@pytest.fixture
def stage() -> staging.Staging:
    """Return what the steps of a run with every feature enabled leave, as far as its story needs it."""
    stage = staging.Staging(Objects(), RUN.staging_uri)
    required = {name: info.annotation for name, info in TrainingReport.model_fields.items() if info.is_required()}
    blank = {name: BLANK.get(annotation) for name, annotation in required.items()}
    bins = [{"predicted": 0.2, "observed": 0.25, "bids": 400.0}]
    lists: dict[str, Any] = {"held_out": [], "day_levels": []}
    stage.put_json(run_files.TRAINING, blank | {"reference_cpm": REFERENCE_CPM, "calibration": bins} | lists)
    table = bid_table().drop(columns=["mean_bid_cpm", "recent_win_rate"])
    stage.put_frame(run_files.BIDS, table.assign(usual_bid_cpm=9.5))
    artifacts.BID_FIGURES.write(stage, bid_figures(shadow_price_cpm=3.5, link=LINK))
    artifacts.SELECTION.write(stage, Selection(KEY_FEATURES, (feature("os_code"),)))
    message = "look for a market change; then run again"
    validation = Validation(
        is_passed=False,
        outcome="failed",
        failures=(f"calibration_error is 0.0321, must be at most 0.08: {message}",),
        warnings=(),
        checks=(check("join_rate"), check("calibration_error", is_passed=False, message=message)),
        checksums={},
        target={},
        target_sentence="target_win_rate 0.4 cannot be reached",
    )
    artifacts.VALIDATION.write(stage, validation)
    artifacts.BACKTEST.write(stage, None)
    artifacts.TOTALS.write(stage, LOG)
    stage.put_frame(run_files.DOMAINS, pd.DataFrame({"domain": ["a.example"], "multiplier": [1.0], "bids": [5]}))
    stage.put_frame(run_files.NPIS, pd.DataFrame({"npi": NPIS, "multiplier": [1.4, 0.7, 1.1], "bids": [1, 2, 3]}))
    return stage


def gather(stage: staging.Staging, **settings: Any) -> RunStory:
    inputs = RunInputs(
        entity_code=RUN.entity_code,
        object_id=1334,
        version_code="v5",
        active_run_id="20260306_060000",
        recent_bids_per_day=(),
        data_start_dt=datetime(2026, 1, 6, tzinfo=UTC),
        data_end_dt=datetime(2026, 3, 7, tzinfo=UTC),
        feature_macros=(),
    )
    values = RunSettings(target_win_rate=0.4, **{"domain_enabled": True, "npi_enabled": True} | settings).model_dump()
    snapshot = ConfigSnapshot(business=values, technical={}, static={}, sources={}, inputs=inputs)
    run = StagedRun.of(RUN, snapshot=snapshot, stage=stage)
    return gather_story(run, bids=stage.get_frame(run_files.BIDS), started_at=datetime(2026, 3, 7, 6, tzinfo=UTC))


def test_the_story_shows_what_was_staged(stage):
    told = gather(stage)
    assert (told.run_id, told.entity_code, told.active_run_id) == (RUN.run_id, RUN.entity_code, "20260306_060000")
    assert (told.window_start.date().isoformat(), told.window_end.date().isoformat()) == ("2026-01-06", "2026-03-07")
    assert (told.target_win_rate, told.win_rate_scope) == (0.4, "portfolio")
    assert gather(stage, win_rate_scope="segment").win_rate_scope == "segment"
    assert told.figures["shadow_price_cpm"] == 3.5
    assert [feature.feature_name for feature in told.features] == ["os_code"]
    assert told.calibration == [{"predicted": 0.2, "observed": 0.25, "bids": 400.0}]
    assert told.bids["mean_bid_cpm"].to_numpy() == pytest.approx(9.5)
    assert told.backtest is None


def test_a_failed_check_brings_what_to_do_next(stage):
    told = gather(stage)
    assert not told.is_passed
    assert {item.name: item.message for item in told.checks} == {
        "join_rate": check("join_rate").message,
        "calibration_error": "look for a market change; then run again",
    }


def test_a_target_that_cannot_be_reached_is_reported(stage):
    assert gather(stage).target_sentence == "target_win_rate 0.4 cannot be reached"


def test_a_run_that_learns_is_marked_in_its_story_and_on_its_page(stage):
    assert gather(stage).learning_sentence is None
    identification = {"is_learning": 1.0, "learning_since": 20260303.0, "own_days": 4.0, "learning_days_left": 3.2}
    known = bid_figures(shadow_price_cpm=3.5, link=LINK, step_limit=0.15, identification=identification)
    artifacts.BID_FIGURES.write(stage, known)
    told = gather(stage)
    assert told.learning_sentence.startswith("Learning since 2026-03-03: ")
    assert "within the daily step of 15 %" in told.learning_sentence and "about 3 days" in told.learning_sentence
    text = read_words(told).section("")
    assert text.index("Learning since 2026-03-03") < text.index("target_win_rate 0.4 cannot be reached")


def test_of_professionals_only_the_distribution_is_shown(stage):
    told = gather(stage)
    assert told.npi_multipliers.tolist() == [0.7, 1.1, 1.4]
    page = Page(render_report(told))
    assert [npi for npi in NPIS if npi in page.source] == []
    assert "3 identified professionals" in page.text


def test_a_run_without_multipliers_shows_none(stage):
    told = gather(stage, domain_enabled=False, npi_enabled=False)
    assert told.domains is None and told.npi_multipliers is None


def test_the_expected_spend_of_each_feature_of_the_key_sums_to_the_forecast(stage):
    known = bid_figures(shadow_price_cpm=3.5, link=LINK, expected_spend_per_day=321.0)
    artifacts.BID_FIGURES.write(stage, known)
    tables = {table.feature: table for table in gather(stage).spend}
    assert list(tables) == [*KEY_FEATURES, "domain"]
    assert [total_spend(tables[feature].parts).spend for feature in KEY_FEATURES] == pytest.approx([321.0] * 3)
    (name, of_state), bids = tables["geo_region_name"].parts[0], bid_table()
    assert name == "New York"
    assert of_state.win_rate == pytest.approx(np.average(bids["expected_win_rate"], weights=bids["requests"]))


def test_spend_by_domain_is_that_of_the_log_where_domains_are_counted(stage):
    assert gather(stage).spend[-1] == SpendTable("domain", is_expected=False, parts=())
    counts = {"bids": [600, 200], "wins": [100, 50], "cost_cpm_sum": [1200.0, 900.0], "view_revenue": 4.0}
    cells = pd.DataFrame({"domain": ["a.example", "b.example"], **counts, "click_revenue": 0.0})
    stage.put_frame("cells/domains", cells)
    days = (DayCount(bids=400, wins=75),) * 2
    seen = LOG.model_copy(update={"files": {run_files.DOMAIN_CELLS: "cells/domains"}, "days": days})
    artifacts.TOTALS.write(stage, seen)
    (first, spend), (second, _) = gather(stage).spend[-1].parts
    assert (first, second) == ("a.example", "b.example")
    assert (spend.requests, spend.spend, spend.cpm, spend.margin) == pytest.approx((300.0, 0.6, 12.0, 0.7))


def test_a_staged_backtest_is_in_the_reports_data(stage):
    artifacts.BACKTEST.write(stage, backtest())
    assert gather(stage).backtest == backtest()


def test_the_curves_are_those_that_the_run_was_priced_on(stage):
    expected = 0.1 + 0.9 * (0.25 * 0.5 + 0.75 / (1 + np.exp(-2.0)))
    assert gather(stage).win_rate(0.0, 1.8, REFERENCE_CPM) == pytest.approx(expected)
