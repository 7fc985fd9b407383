"""Cells made in numpy, against the optimizer's own SQL on the same auctions."""

from dataclasses import replace
from datetime import datetime, time, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lab.evaluation.log import ExtractedLog, extract_log
from lab.evaluation.second_log import LiveLog
from lab.market.tables import BIDS_SCHEMA, CLICKS_SCHEMA, VIEWS_SCHEMA, Events
from lab.second_market.auctions import Auctions, Bids, concat_auctions, old_run_ids, settle
from lab.second_market.cells import domain_cells, npi_totals, segment_cells, totals
from lab.second_market.market import Market
from lab.second_market.requests import candidates, draw_requests, feature_codes
from lab.second_market.settings import FIRST_DAY, MarketSettings

DAYS = 10
OBJECT_ID = 7
VIEW_REVENUE = 0.003
NOON = time(12)


@pytest.fixture(scope="module", params=[False, True], ids=["first price", "second price"])
def market(request) -> Market:
    settings = MarketSettings(
        adspaces=3, regions=3, systems=2, domains=5, professionals=8, log_days=DAYS, click_rate=0.2,
        hidden_region_share=0.1, is_second_price=request.param,
    )  # fmt: skip
    return Market.create(settings, seed=5)


@pytest.fixture(scope="module")
def auctions(market: Market) -> Auctions:
    chance = np.random.default_rng(1)
    days = []
    for day in range(DAYS):
        requests = draw_requests(market, days=[day], per_day=300)
        base = np.round(chance.uniform(5, 15, 300), 2)
        by_domain, by_npi = chance.choice([0.8, 1.0, 1.25], 300), np.where(requests.npi >= 0, 1.1, 1.0)
        bids = Bids(base * by_domain * by_npi, base, by_domain, by_npi)
        days.append(settle(market, requests, bids, run_ids=old_run_ids([day])))
    return concat_auctions(days)


@pytest.fixture(scope="module")
def by_sql(market: Market, auctions: Auctions) -> ExtractedLog:
    return extract_log(
        events_of(market, auctions),
        object_id=OBJECT_ID,
        end_day=FIRST_DAY + timedelta(days=DAYS),
        days=DAYS,
        candidates=candidates(market),
        is_second_price=market.settings.is_second_price,
    )


def events_of(market: Market, auctions: Auctions) -> Events:
    requests, bids, count = auctions.requests, auctions.bids, len(auctions)
    ids = np.array([f"bid {number:06d}" for number in range(count)], dtype=object)
    moments = np.array([datetime.combine(FIRST_DAY + timedelta(days=int(day)), NOON) for day in requests.day])
    named = {}
    for feature in (*candidates(market), "domain", "npi"):
        codes, names = feature_codes(market, requests, feature)
        named[feature] = np.append(names, None)[codes]
    columns = {
        "bid_id": ids,
        "bid_ts": moments,
        "object_id": np.full(count, OBJECT_ID),
        "run_id": np.array([auctions.run_ids[int(day)] for day in requests.day], dtype=object),
        **named,
        "bid_cpm": bids.bid_cpm,
        "base_bid_cpm": bids.base_cpm,
        "domain_multiplier": bids.domain_multiplier,
        "npi_multiplier": bids.npi_multiplier,
    }
    empty = np.full(count, None, dtype=object)
    table = {name: columns.get(name, empty) for name in BIDS_SCHEMA.names}
    won, clicked = auctions.is_won, auctions.is_clicked
    views = [ids[won], moments[won], auctions.cost_cpm[won], np.full(won.sum(), VIEW_REVENUE)]
    clicks = [ids[clicked], moments[clicked], np.zeros(clicked.sum())]
    return Events(
        pa.Table.from_pydict(table, schema=BIDS_SCHEMA),
        pa.Table.from_arrays([pa.array(column) for column in views], names=VIEWS_SCHEMA.names).cast(VIEWS_SCHEMA),
        pa.Table.from_arrays([pa.array(column) for column in clicks], names=CLICKS_SCHEMA.names).cast(CLICKS_SCHEMA),
    )


def assert_same(made: pd.DataFrame, expected: pd.DataFrame, *, by: list[str]) -> None:
    assert list(made.columns) == list(expected.columns)
    tables = []
    for table in (made, expected):
        plain = table.assign(**({"day": pd.to_datetime(table["day"])} if "day" in table else {}))
        text = plain[by].astype(object).where(plain[by].notna(), "").astype(str)
        plain = plain.loc[text.sort_values(by).index].reset_index(drop=True)
        tables.append(
            plain.assign(**{name: plain[name].astype(object).where(plain[name].notna(), None) for name in by})
        )
    pd.testing.assert_frame_equal(*tables, check_dtype=False, rtol=1e-9)


def test_segment_cells_are_those_of_the_sql(market, auctions, by_sql):
    made = segment_cells(market, auctions, features=candidates(market), view_revenue=VIEW_REVENUE)
    assert made["geo_region_name"].isna().any()
    assert_same(made, by_sql.cells, by=["day", *candidates(market), "price_bucket", "base_price_bucket"])


def test_domain_cells_are_those_of_the_sql(market, auctions, by_sql):
    made = domain_cells(market, auctions, end_day=DAYS, view_revenue=VIEW_REVENUE)
    assert_same(made, by_sql.domain_cells, by=["day", "domain", "price_bucket"])


def test_npi_totals_are_those_of_the_sql(market, auctions, by_sql):
    made = npi_totals(market, auctions, end_day=DAYS, view_revenue=VIEW_REVENUE)
    assert_same(made, by_sql.npi_totals, by=["npi", "day"])


def test_totals_are_those_of_the_sql(auctions, by_sql):
    days = ("first_bid_ts", "last_bid_ts")
    made, expected = totals(auctions), by_sql.totals.model_dump()
    assert {name: made[name] for name in made if name not in days} == {
        name: expected[name] for name in made if name not in days
    }
    assert [made[name][:10] for name in days] == [expected[name][:10] for name in days]


def test_cells_of_a_log_that_grew_by_days_are_those_of_the_whole(market, auctions):
    requests, bids = auctions.requests, auctions.bids

    def part(rows: np.ndarray) -> Auctions:
        some = Bids(bids.bid_cpm[rows], bids.base_cpm[rows], bids.domain_multiplier[rows], bids.npi_multiplier[rows])
        shown = (auctions.is_won[rows], auctions.is_clicked[rows], auctions.cost_cpm[rows])
        return Auctions(requests.pick(rows), some, *shown, auctions.run_ids)

    features = candidates(market)
    early, last = (part(rows) for rows in (requests.day < DAYS - 1, requests.day == DAYS - 1))
    log = LiveLog(market, early, segment_cells(market, early, features=features), 0.0, DAYS - 1).append(last)
    whole = segment_cells(market, auctions, features=features)
    pd.testing.assert_frame_equal(log.cells, whole, check_dtype=False)
    assert log.end_day == DAYS and log.extract().totals.usable_bids == len(auctions)


def test_a_request_without_a_bid_is_in_no_cell(market):
    requests = draw_requests(market, days=[3], per_day=300)
    bid = np.where(np.arange(300) < 100, np.nan, 9.0)
    made = settle(market, requests, Bids(bid, bid, np.ones(300), np.ones(300)), run_ids={3: "run"})
    assert segment_cells(replace(market), made, features=candidates(market))["bids"].sum() == 200
