"""Damaged files: whatever byte of whatever file is wrong, the bidder prices as before or not at all."""

import pytest
from bidder.market import BIDS, DOMAINS, ENTITY, NPIS, ask

from optimizer.bidder.pricing import price

FILES = ("manifest.json", "memcache.csv", "domain_multipliers.csv", "npi_multipliers.csv")
FORGET_CHECKSUM = "UPDATE opt_runs SET manifest_sha256 = NULL"


@pytest.fixture
def run_id(market) -> str:
    """Return a deployed run with bids and both kinds of multipliers."""
    run_id = market.publish(domains=DOMAINS, npis=NPIS)
    market.deploy({run_id: 100})
    return run_id


@pytest.mark.parametrize("name", FILES)
def test_no_single_wrong_byte_of_a_file_is_served(market, run_id, name):
    uri = market.uris[run_id] + name
    content = market.store.get_bytes(uri)
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        market.store.put_bytes(uri, bytes(damaged))
        refresher = market.refresher()
        assert "sha256 differ" in refresher.refresh().errors[ENTITY], f"byte {at}"
        assert ENTITY not in refresher.generations, f"byte {at}"
    market.store.put_bytes(uri, content)
    assert market.refresher().refresh().switched == (ENTITY,)


def test_a_run_without_the_checksum_of_its_manifest_is_served_and_said(market, run_id, caplog):
    market.execute(FORGET_CHECKSUM)
    refresher = market.refresher()
    assert refresher.refresh().switched == (ENTITY,)
    assert f"the manifest of run {run_id} is not checked" in caplog.text
    generation = refresher.generations[ENTITY]
    assert not generation.runs[run_id].is_manifest_checked
    assert price(ask(), generation=generation).bid_cpm == BIDS["Ohio|android"]


def test_the_manifest_of_another_run_is_refused(market, run_id):
    other = market.publish(bids={"Ohio|android": 29.0})
    content = market.store.get_bytes(market.uris[other] + "manifest.json")
    market.store.put_bytes(market.uris[run_id] + "manifest.json", content)
    assert "its sha256 differs" in market.refresher().refresh().errors[ENTITY]
