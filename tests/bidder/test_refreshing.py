"""New generations beside the old, and every failure that keeps the old."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from bidder.market import BIDS, DOMAINS, ENTITY, NPIS, ask
from servers.embedded import closed_port

from lab.benchmarks.bidder.memcached import running_memcached
from optimizer.bidder.memcached import Memcached
from optimizer.bidder.pricing import price
from optimizer.bidder.reasons import Reason
from optimizer.bidder.refreshing import CONTROL_PLANE
from optimizer.bidder.service import BidderService
from optimizer.control_plane.engine import open_engine

NEW_BIDS = {"Ohio|android": 13.0, "Utah|ios": 7.0}


def bid_of(refresher, **fields):
    return price(ask(**fields), generation=refresher.generations[ENTITY])


@pytest.fixture
def deployed(market, served_from):
    """Return a refresher that serves a first run, whose run_id is `first`."""
    refresher = market.refresher(memcached=served_from)
    market.first = market.publish(domains=DOMAINS, npis=NPIS)
    market.deploy({market.first: 100})
    assert refresher.refresh().switched == (ENTITY,)
    return refresher


def test_what_is_deployed_is_served(market, deployed):
    assert deployed.last_report.not_deployed == ("drugs_com",)
    priced = bid_of(deployed, domain="a.example")
    assert (priced.run_id, priced.bid_cpm) == (market.first, 18.0)
    assert bid_of(deployed, state="Utah").reason is Reason.FALLBACK
    assert bid_of(deployed, state="Texas", os="windows").reason is Reason.BLOCKED


def test_a_second_refresh_changes_nothing(deployed):
    before = deployed.generations[ENTITY]
    assert deployed.refresh().outcome == "unchanged"
    assert deployed.generations[ENTITY] is before


def test_a_new_deployment_is_switched_to_and_the_old_generation_still_answers(market, deployed):
    old = deployed.generations[ENTITY]
    second = market.publish(bids=NEW_BIDS)
    market.deploy({second: 100})
    assert deployed.refresh().outcome == "switched"
    assert bid_of(deployed).bid_cpm == 13.0
    assert price(ask(), generation=old).bid_cpm == 12.0


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"auction_type": "second_price"}, Reason.AUCTION_TYPE),
        ({"auction_type": "first_price"}, Reason.SEGMENT),
        ({}, Reason.SEGMENT),
    ],
)
def test_the_manifest_says_for_which_auctions_a_run_bids(market, deployed, rule, reason):
    market.deploy({market.publish(**rule): 100})
    deployed.refresh()
    assert bid_of(deployed, is_first_price=True).reason is reason
    assert bid_of(deployed).reason is Reason.SEGMENT


def test_a_split_serves_both_runs(market, deployed):
    second = market.publish(bids=NEW_BIDS)
    market.deploy({market.first: 80, second: 20})
    deployed.refresh()
    bids = {bid_of(deployed, user_id=f"u{number}").bid_cpm for number in range(100)}
    assert bids == {12.0, 13.0}


def _corrupt(market, run_id):
    uri = market.uris[run_id] + "memcache.csv"
    market.store.put_bytes(uri, market.store.get_bytes(uri).replace(b"13.0", b"93.0"))


def _cut(name):
    def cut(market, run_id):
        uri = market.uris[run_id] + name
        content = market.store.get_bytes(uri)
        market.store.put_bytes(uri, content[: len(content) // 2])

    return cut


def _republish_with_a_wrong_checksum(market, run_id):
    uri = market.uris[run_id] + "manifest.json"
    manifest = json.loads(market.store.get_bytes(uri))
    manifest["objects"][0]["sha256"] = "0" * 64
    market.store.put_bytes(uri, json.dumps(manifest).encode())


FAILURES = {
    "a file changed after its checksum": (_corrupt, "sha256 differ"),
    "a manifest with a wrong checksum": (_republish_with_a_wrong_checksum, "sha256 differ"),
    "a half-written file": (_cut("memcache.csv"), "size or sha256 differ"),
    "a half-written manifest": (_cut("manifest.json"), "its sha256 differs from opt_runs.manifest_sha256"),
    "a missing file": (lambda m, run: m.store.delete(m.uris[run] + "memcache.csv"), "no such object"),
    "a missing manifest": (lambda m, run: m.store.delete(m.uris[run] + "manifest.json"), "no such object"),
    "a changed macro": (
        lambda m, run: m.execute("UPDATE opt_feature_macros SET macro_template = '[X]' WHERE macro_id = 3"),
        r"\[ADX_GEO_STATE\]\|\[X\] by opt_run_features",
    ),
    "a run that failed its validation": (
        lambda m, run: m.execute(f"UPDATE opt_runs SET validation_status = 'failed' WHERE run_id = '{run}'"),
        "its validation failed",
    ),
    "percents that do not sum to 100": (
        lambda m, run: m.execute("UPDATE opt_deployments SET traffic_pct = 50 WHERE is_active = 1"),
        "sum to 50 instead of 100",
    ),
    "a moment between two statements of the UI": (
        lambda m, run: m.execute("UPDATE opt_deployments SET is_active = 0"),
        "sum to 0 instead of 100",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_keeps_the_old_generation_and_says_why(market, deployed, failure, caplog):
    spoil, message = FAILURES[failure]
    second = market.publish(bids=NEW_BIDS)
    market.deploy({second: 100})
    spoil(market, second)
    old = deployed.generations[ENTITY]
    report = deployed.refresh()
    assert report.outcome == "failed" and set(report.errors) == {ENTITY}
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.errors[ENTITY])
    assert report.errors[ENTITY] in caplog.text
    assert deployed.generations[ENTITY] is old and bid_of(deployed).bid_cpm == 12.0


def test_a_silent_database_keeps_what_is_served(deployed):
    deployed.engine = open_engine(f"mysql+pymysql://user@127.0.0.1:{closed_port()}/optimizer")
    report = deployed.refresh()
    assert "does not answer" in report.errors[CONTROL_PLANE]
    assert bid_of(deployed).bid_cpm == 12.0


def test_an_inactive_entity_is_bid_on_no_more(market, deployed):
    market.execute("UPDATE opt_entities SET status = 'I' WHERE entity_id = 1")
    assert deployed.refresh().switched == (ENTITY,)
    assert ENTITY not in deployed.generations


def test_an_entity_that_is_named_and_unknown_is_an_error(market):
    report = market.refresher(entity_codes=["drugs_hpc"]).refresh()
    assert "not in opt_entities" in report.errors["drugs_hpc"]


@pytest.mark.parametrize("bid", ["-1", "nan", "inf", "", "x"])
def test_a_bid_that_cannot_be_bid_is_refused_by_its_row(market, bid):
    run_id = market.publish(bids={"Ohio|android": 1.0, "Utah|ios": bid})
    market.deploy({run_id: 100})
    assert "row 2 has no bid that can be bid" in market.refresher().refresh().errors[ENTITY]


@pytest.mark.parametrize("key", ["Ohio", "Ohio|android|", "New York|ios", "Österreich|ios", "Ohio|\x00"])
def test_a_key_that_no_request_can_make_is_refused(market, key):
    market.deploy({market.publish(bids={"Ohio|android": 1.0, key: 2.0}): 100})
    assert "has 1 keys that no request of 2 macros makes" in market.refresher().refresh().errors[ENTITY]


@pytest.mark.parametrize("rule", [{"max_bid_cpm": 0.0, "fallback_bid_cpm": 0.0}, {"fallback_bid_cpm": 31.0}])
def test_a_cap_of_zero_and_a_fallback_above_the_cap_are_refused(market, rule):
    market.deploy({market.publish(**rule): 100})
    assert "cannot be bid" in market.refresher().refresh().errors[ENTITY]


@pytest.mark.parametrize(
    "content", [b"", b"segment_key,bid\n\xff,1\n", b"segment,bid\na|b,1\n", b"segment_key,bid\r\ra"]
)
def test_a_file_that_is_not_a_table_of_bids_is_refused(market, content):
    market.deploy({market.publish(change=lambda files: files["memcache.csv"].write_bytes(content)): 100})
    assert "memcache.csv of run" in market.refresher().refresh().errors[ENTITY]


def test_no_message_about_multipliers_holds_an_npi(market):
    run_id = market.publish(npis={"1234567893": "x"})
    market.deploy({run_id: 100})
    message = market.refresher().refresh().errors[ENTITY]
    assert "npi_multipliers.csv" in message and "1234567893" not in message


def test_an_emptied_memcached_is_not_an_unknown_segment_and_the_next_refresh_fills_it(market, server, memcached):
    refresher = market.refresher(memcached=server)
    market.deploy({market.publish(): 100})
    refresher.refresh()
    memcached.flush_all()
    assert bid_of(refresher).reason is Reason.TABLE_LOST
    assert bid_of(refresher, state="Utah").reason is Reason.FALLBACK
    assert refresher.refresh().outcome == "unchanged"
    assert bid_of(refresher).bid_cpm == 12.0


def test_one_lost_key_is_written_again_once_it_was_missed(market, server, memcached):
    service = BidderService(market.refresher(memcached=server))
    market.deploy({market.publish(): 100})
    service.refresh()
    (run,) = service.refresher.generations[ENTITY].runs.values()
    memcached.delete(run.bids.place_of("Ohio|android"))
    assert service.price(ask(), entity_code=ENTITY).reason is Reason.TABLE_LOST
    assert service.is_refresh_due
    service.refresh()
    assert service.price(ask(), entity_code=ENTITY).bid_cpm == 12.0


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "-1", "1_0"])
def test_a_value_in_memcached_that_is_not_a_bid_is_never_bid(market, server, memcached, value):
    refresher = market.refresher(memcached=server)
    market.deploy({market.publish(): 100})
    refresher.refresh()
    table = refresher.generations[ENTITY].runs[bid_of(refresher).run_id].bids
    memcached.set(table.place_of("Ohio|android"), value)
    assert (bid_of(refresher).bid_cpm, bid_of(refresher).reason) == (None, Reason.TABLE_LOST)


def test_a_memcached_that_falls_silent_gives_no_bid_and_does_not_rewrite_every_table(market):
    with running_memcached(memory_mb=64) as server:
        service = BidderService(market.refresher(memcached=server))
        market.deploy({market.publish(): 100})
        service.refresh()
        assert service.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"]
    assert service.price(ask(), entity_code=ENTITY).reason is Reason.TABLE_SILENT
    assert service.price(ask("Utah"), entity_code=ENTITY).reason is Reason.TABLE_SILENT
    assert not service.is_refresh_due


def test_a_silent_memcached_fails_the_refresh_and_nothing_is_served(market):
    refresher = market.refresher(memcached=Memcached([("127.0.0.1", closed_port())]))
    market.deploy({market.publish(): 100})
    assert "does not answer" in refresher.refresh().errors[ENTITY]
    assert ENTITY not in refresher.generations


def test_a_table_is_written_again_before_it_expires(market, server):
    times = [datetime(2026, 2, 3, tzinfo=UTC)]
    refresher = market.refresher(memcached=server, clock=lambda: times[-1])
    market.deploy({market.publish(): 100})
    refresher.refresh()
    table = next(iter(refresher.generations[ENTITY].runs.values())).bids
    for days, written in ((0.5, times[0]), (1.5, times[0] + timedelta(days=1.5))):
        times.append(times[0] + timedelta(days=days))
        refresher.refresh()
        assert table.written_at() == {server.names[0]: written.timestamp()}


def test_keys_longer_than_memcached_takes_are_found_again(market, server):
    long = {f"{'x' * length}|ios": float(length) for length in (225, 229, 230, 400, 5000)}
    refresher = market.refresher(memcached=server)
    market.deploy({market.publish(bids={**BIDS, **long}, max_bid_cpm=9000.0): 100})
    refresher.refresh()
    found = {key: bid_of(refresher, state=key.split("|")[0], os="ios").bid_cpm for key in long}
    assert found == long
    assert bid_of(refresher, state="x" * 401, os="ios").reason is Reason.FALLBACK


@pytest.mark.parametrize("keep_s", [0, 31 * 24 * 3600])
def test_an_expiry_that_memcached_takes_for_a_date_is_refused(keep_s):
    with pytest.raises(ValueError, match="1970"):
        Memcached([("127.0.0.1", 11211)], keep_s=keep_s)
