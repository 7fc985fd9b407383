"""Logs that DuckDB draws, and the lines of runs on them."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from lab.benchmarks.figures import Figure
from lab.benchmarks.growing import MEBIBYTE
from lab.benchmarks.logs.generating import append_log
from lab.benchmarks.logs.growing import BoundedRun, figures_of, measure_logs
from lab.benchmarks.market import create_world, generate_parts
from lab.market.tables import Events, concat_events
from optimizer.sql_files import sql_folder

BIDS = 120_000
EPOCHS = ["2026-01-25", "2026-02-14"]
"""When the market's earlier optimizer begins, and when its jitter does."""


@pytest.fixture(scope="module")
def drawn() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as database:
        statements = (sql_folder("snowflake") / "tables.sql").read_text().replace("TIMESTAMP_NTZ", "TIMESTAMP")
        for statement in filter(str.strip, statements.split(";\n")):
            database.execute(statement).fetchall()
        for part in range(2):
            append_log(database, create_world(), bids=BIDS // 2, first_id=part * BIDS // 2, seed=part)
        yield database


@pytest.fixture(scope="module")
def simulated() -> Events:
    return concat_events(generate_parts(create_world(), bids=BIDS, seed=1))


def by_epoch(bids: pd.DataFrame, views: pd.DataFrame) -> pd.DataFrame:
    """Return bids, win rate and mean and spread of log bids of each epoch."""
    epoch = np.searchsorted(EPOCHS, bids["bid_ts"].dt.date.astype(str), side="right")
    known = bids.assign(won=bids["bid_id"].isin(views["bid_id"]), log_bid=np.log(bids["bid_cpm"]))
    groups = known.groupby(epoch)
    return pd.DataFrame(
        {"share": groups.size() / len(bids), "won": groups["won"].mean(), "mean": groups["log_bid"].mean(),
         "spread": groups["log_bid"].std(), "named": groups["npi"].count() / groups.size()}
    )  # fmt: skip


def test_a_drawn_log_has_the_bids_and_wins_of_the_market_in_each_of_its_epochs(drawn, simulated: Events):
    tables = [drawn.execute(f"SELECT * FROM {name}").df() for name in ("bids", "views")]
    found = by_epoch(*tables)
    expected = by_epoch(simulated.bids.to_pandas(), simulated.views.to_pandas())
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("feature", ["internal_adspace_id", "os_code", "browser_code", "device_type"])
def test_a_drawn_log_has_the_markets_traffic(drawn, simulated: Events, feature: str):
    shares = [
        table[feature].value_counts(normalize=True).sort_index()
        for table in (drawn.execute("SELECT * FROM bids").df(), simulated.bids.to_pandas())
    ]
    pd.testing.assert_series_equal(*shares, atol=0.01)


def test_appended_bids_have_ids_of_their_own_and_views_and_clicks_are_of_bids(drawn):
    found = drawn.execute(
        "SELECT COUNT(*), COUNT(DISTINCT bid_id), (SELECT COUNT(*) FROM views ANTI JOIN bids USING (bid_id)), "
        "(SELECT COUNT(*) FROM clicks ANTI JOIN views USING (bid_id)), (SELECT COUNT(*) FROM clicks) FROM bids"
    ).fetchone()
    assert found[:4] == (BIDS, BIDS, 0, 0) and found[4] > 0


def run_of(bids: int, cells: int, mebibytes: int, planned: dict[str, float]) -> BoundedRun:
    bid = pd.Series(planned)
    return BoundedRun(bids, cells, 9_000, 3, ("os_code",), mebibytes * MEBIBYTE, bid, pd.Series(1.0, bid.index))


def line(figures: list[Figure], text: str) -> Figure:
    return next(figure for figure in figures if text in figure.what)


def test_memory_is_held_against_that_of_the_smallest_log_and_bids_against_those_without_a_bound():
    runs = [run_of(1_000, 900, 400, {"a": 2.0, "b": 4.0}), run_of(5_000, 1_000, 600, {"a": 2.0, "b": 4.02})]
    unbounded = run_of(5_000, 9_000, 900, {"a": 2.0, "b": 4.0})
    figures = figures_of(runs, max_cells=1_000, unbounded=unbounded)
    assert line(figures, "cells of 5,000").is_kept and line(figures, "peak memory on 1,000").bound is None
    assert line(figures, "peak memory on 5,000").ratio == pytest.approx(1.5)
    assert not line(figures, "peak memory on 5,000").is_kept
    change = line(figures, "mean change")
    assert change.measured == pytest.approx(np.log(1.005) / 2) and change.is_kept
    assert line(figures, "moves by more").measured == 0


def test_a_key_that_only_one_of_the_runs_has_counts_as_moved():
    runs, unbounded = [run_of(1_000, 900, 400, {"a": 2.0})], run_of(1_000, 9_000, 900, {"a": 2.0, "b": 4.0})
    figures = figures_of(runs, max_cells=1_000, unbounded=unbounded)
    assert line(figures, "moves by more").measured == 0.5 and not line(figures, "mean change").is_kept


def test_a_log_grows_on_disk_and_every_run_reads_no_more_cells_than_it_may(tmp_path: Path):
    told = []
    figures = measure_logs(
        tmp_path, sizes=(20_000, 40_000), compared=40_000, max_cells=10_000, tell=told.append
    )  # fmt: skip
    cells = [figure for figure in figures if figure.unit == "rows"]
    assert len(cells) == 2 and all(0 < figure.measured <= 10_000 for figure in cells)
    assert line(figures, "mean change").yardstick == 0.01
    assert "a run on 40,000 bids without a bound" in told
