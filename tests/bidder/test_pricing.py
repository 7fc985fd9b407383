"""What a request is bid, and that it is what the simulated bidder bids."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from bidder.market import BIDS, CAP_CPM, DOMAIN, DOMAINS, FALLBACK_CPM, NPIS, OS, STATE, ask
from hypothesis import given
from hypothesis import strategies as st

from lab.market.auctions import draw_requests
from lab.market.policies import BidTablePolicy
from lab.market.presets import PRESETS
from lab.market.world import World
from optimizer.bidder.generation import Generation, ServedRun
from optimizer.bidder.pricing import Price, price
from optimizer.bidder.reasons import Reason
from optimizer.bidder.requests import PriceRequest
from optimizer.bidder.tables import InProcessTable
from optimizer.core.serving.keys import segment_key
from optimizer.core.serving.traffic import TrafficSplit

RUN = ServedRun("run-a", (STATE, OS), InProcessTable(BIDS), DOMAINS, NPIS, FALLBACK_CPM, CAP_CPM)
TEXTS = st.one_of(st.none(), st.text(st.characters()))


def generation_of(*runs: ServedRun, domain_macro: str | None = DOMAIN, npi_macro: str | None = None) -> Generation:
    percents = {run.run_id: 100 // len(runs) for run in runs}
    return Generation(
        entity_code="drugs_hcp",
        fingerprint="f",
        percents=percents,
        split=TrafficSplit.create(percents, entity_code="drugs_hcp"),
        runs={run.run_id: run for run in runs},
        domain_macro=domain_macro,
        npi_macro=npi_macro,
        loaded_at=datetime(2026, 2, 3, tzinfo=UTC),
    )


GENERATION = generation_of(RUN)


def test_a_bid_is_the_base_bid_times_both_multipliers_with_all_its_parts():
    priced = price(ask(domain="a.example", floor_cpm=2.0), generation=GENERATION)
    assert priced == Price("drugs_hcp", Reason.SEGMENT, 18.0, "run-a", "Ohio|android", 12.0, 1.5, 1.0, 2.0)
    assert price(ask(npi="1234567893", domain="b.example"), generation=GENERATION).bid_cpm == 12.0 * 0.6 * 3.0


def test_the_domain_is_the_value_of_its_macro_unless_it_is_given():
    asked = ask()
    asked = replace(asked, macros={**asked.macros, DOMAIN: "a.example"})
    assert price(asked, generation=GENERATION).domain_multiplier == 1.5
    assert price(replace(asked, domain="b.example"), generation=GENERATION).domain_multiplier == 0.6


def test_an_npi_that_privacy_withholds_multiplies_nothing_even_where_a_macro_has_it():
    generation = generation_of(RUN, npi_macro="[NPI]")
    asked = PriceRequest({STATE: "Ohio", OS: "android", "[NPI]": "1234567893"}, user_id="u")
    assert price(asked, generation=generation).npi_multiplier == 3.0
    withheld = price(replace(asked, npi="1234567893", withholds_npi=True), generation=generation)
    assert (withheld.npi_multiplier, withheld.bid_cpm) == (1.0, 12.0)


def test_bids_for_second_price_auctions_are_never_made_in_a_first_price_auction():
    generation = generation_of(replace(RUN, is_second_price=True))
    priced = price(ask(is_first_price=True), generation=generation)
    assert (priced.bid_cpm, priced.reason, priced.run_id) == (None, Reason.AUCTION_TYPE, "run-a")
    assert price(ask(), generation=generation).bid_cpm == price(ask(is_first_price=True), generation=GENERATION).bid_cpm


def test_unknown_domains_and_people_have_the_multiplier_one():
    priced = price(ask(domain="c.example", npi="9"), generation=GENERATION)
    assert (priced.bid_cpm, priced.domain_multiplier, priced.npi_multiplier) == (12.0, 1.0, 1.0)


@pytest.mark.parametrize("state", ["Utah", None, "", "ohio", "Ohio ", "%EMPTY", "\ud800", "x" * 5000])
def test_an_unknown_segment_is_bid_the_fallback_times_its_multipliers(state):
    priced = price(ask(state, domain="a.example"), generation=GENERATION)
    assert (priced.reason, priced.base_bid_cpm, priced.bid_cpm) == (Reason.FALLBACK, FALLBACK_CPM, FALLBACK_CPM * 1.5)


def test_a_macro_that_is_not_named_is_bid_the_fallback_and_one_without_a_value_has_its_own_segment():
    run = replace(RUN, bids=InProcessTable({segment_key([None, "ios"]): 9.0}))
    unnamed = price(PriceRequest({OS: "ios"}, user_id="u", domain="a.example"), generation=generation_of(run))
    assert (unnamed.reason, unnamed.bid_cpm, unnamed.segment_key) == (Reason.NO_MACRO, FALLBACK_CPM * 1.5, None)
    assert price(ask(None, "ios"), generation=generation_of(run)).bid_cpm == 9.0


def test_no_final_bid_is_above_the_runs_cap():
    priced = price(ask("New York", "ios", npi="1234567893"), generation=GENERATION)
    assert (priced.reason, priced.bid_cpm) == (Reason.CAP, CAP_CPM)
    assert (priced.base_bid_cpm, priced.npi_multiplier) == (20.0, 3.0)


def test_a_bid_of_zero_says_not_to_bid():
    priced = price(ask("Texas", "windows"), generation=GENERATION)
    assert (priced.is_bid, priced.reason, priced.run_id) == (False, Reason.BLOCKED, "run-a")


@pytest.mark.parametrize("change", [{"fallback_bid_cpm": 0.0}, {"domain_multipliers": {"a.example": 5e-324}}])
def test_no_price_of_zero_is_ever_bid(change):
    run = replace(RUN, **{"fallback_bid_cpm": 0.1, **change})
    priced = price(ask("Utah", domain="a.example"), generation=generation_of(run))
    assert (priced.bid_cpm, priced.reason) == (None, Reason.BLOCKED)


def test_a_bid_below_the_floor_is_not_lifted_and_one_at_the_floor_stands():
    assert price(ask(floor_cpm=12.0), generation=GENERATION).bid_cpm == 12.0
    below = price(ask(floor_cpm=12.01), generation=GENERATION)
    assert (below.bid_cpm, below.reason, below.base_bid_cpm) == (None, Reason.BELOW_FLOOR, 12.0)


def test_a_bid_has_the_columns_of_its_row_in_bids_and_no_bid_has_none():
    assert price(ask(floor_cpm=2.0), generation=GENERATION).bids_row() == {
        "run_id": "run-a",
        "bid_cpm": 12.0,
        "base_bid_cpm": 12.0,
        "domain_multiplier": 1.0,
        "npi_multiplier": 1.0,
        "floor_cpm": 2.0,
    }
    with pytest.raises(ValueError, match="blocked is not a bid"):
        price(ask("Texas", "windows"), generation=GENERATION).bids_row()


def test_the_user_decides_which_run_prices_and_without_one_the_auction_does():
    runs = generation_of(RUN, replace(RUN, run_id="run-b"))
    for number in range(50):
        user, auction = f"u{number}", f"a{number}"
        by_user = price(ask(user_id=user, auction_id=auction), generation=runs).run_id
        assert by_user == runs.split.run_of(user)
        assert price(ask(user_id=None, auction_id=auction), generation=runs).run_id == runs.split.run_of(auction)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.floats(0.01, 100))
def test_the_bidder_finds_what_the_optimizer_wrote_for_any_values(values, bid):
    names = tuple(f"[M{number}]" for number in range(len(values)))
    run = replace(RUN, macros=names, bids=InProcessTable({segment_key(values): bid}), max_bid_cpm=100.0)
    macros = dict(zip(names, values, strict=True))
    priced = price(PriceRequest(macros, user_id="u"), generation=generation_of(run))
    assert (priced.reason, priced.bid_cpm, priced.segment_key) == (Reason.SEGMENT, bid, segment_key(values))


def test_every_request_of_a_market_is_bid_what_the_simulated_bidder_bids():
    world = World.create(3, settings=replace(PRESETS["drugs_hcp"], first_day=date(2026, 1, 5)))
    requests = draw_requests(world, start_day=date(2026, 1, 5), days=2, count=3000)
    rows = requests.visible(world).to_pylist()
    features = ("internal_adspace_id", "geo_region_name", "os_code")
    rng = np.random.default_rng(5)
    keys = sorted({segment_key([row[name] for name in features]) for row in rows})
    bids = {key: float(bid) for key, bid in zip(keys, rng.gamma(2.0, 8.0, len(keys)).round(2), strict=True)}
    bids = {key: 0.0 if number % 9 == 0 else bids[key] for number, key in enumerate(keys) if number % 4}
    domains = {name: float(rng.uniform(0.6, 1.5)) for name in world.domains.names[::2]}
    npis = {npi: float(rng.uniform(0.7, 3.0)) for npi in world.visitors.npis[::3]}
    simulated = BidTablePolicy(bids, features, 7.5, domains, npis, "r", segment_key, 25.0).price(world, requests)
    run = ServedRun("r", features, InProcessTable(bids), domains, npis, 7.5, 25.0)
    generation = generation_of(run, domain_macro="domain", npi_macro="npi")
    ours = [price(PriceRequest(row, auction_id=row["bid_id"]), generation=generation) for row in rows]
    assert {priced.reason for priced in ours} == {Reason.SEGMENT, Reason.FALLBACK, Reason.CAP, Reason.BLOCKED}
    bid_cpm = np.array([np.nan if priced.bid_cpm is None else priced.bid_cpm for priced in ours])
    np.testing.assert_array_equal(bid_cpm, simulated.bid_cpm)
    is_bid = ~np.isnan(bid_cpm)
    for name in ("base_bid_cpm", "domain_multiplier", "npi_multiplier"):
        parts = np.array([getattr(priced, name) for priced in ours], float)
        np.testing.assert_array_equal(parts[is_bid], getattr(simulated, name)[is_bid])
