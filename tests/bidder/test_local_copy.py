"""The copy on local disk: what a bidder serves that starts while its systems are away."""

import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import boto3
import pytest
from bidder.market import BIDS, DOMAINS, ENTITY, NPIS, ask
from botocore.config import Config
from servers.embedded import closed_port

from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.copy_keeper import CopyKeeper
from optimizer.bidder.reasons import Reason
from optimizer.bidder.refreshing import CONTROL_PLANE
from optimizer.bidder.service import BidderService
from optimizer.control_plane.engine import open_engine

NEW_BIDS = {"Ohio|android": 13.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "copies"


@pytest.fixture
def served(market, folder) -> str:
    """Return the run that a bidder with a copy has served, and which is deployed."""
    run_id = market.publish(domains=DOMAINS, npis=NPIS)
    market.deploy({run_id: 100})
    assert market.refresher(copies=CopyKeeper(folder)).refresh().switched == (ENTITY,)
    return run_id


def away(market, folder, **fields):
    """Return a bidder that starts while the control plane is away."""
    engine = open_engine(f"mysql+pymysql://user@127.0.0.1:{closed_port()}/optimizer")
    return BidderService(market.refresher(engine=engine, copies=CopyKeeper(folder)), **fields)


def store_away():
    """Return the object store's adapter, on a port where nothing listens."""
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=1)
    return ObjectStore(boto3.client("s3", endpoint_url=f"http://127.0.0.1:{closed_port()}", config=config, **keys))


def test_a_bidder_that_starts_without_the_control_plane_serves_the_copy_and_says_so(market, folder, served, caplog):
    service = away(market, folder)
    report = service.refresh()
    assert "does not answer" in report.errors[CONTROL_PLANE] and report.switched == (ENTITY,)
    price = service.price(ask(domain="a.example", npi="1234567893"), entity_code=ENTITY)
    assert (price.run_id, price.bid_cpm, price.reason) == (served, 30.0, Reason.CAP)
    assert service.is_ready()
    health = service.health()
    assert health["status"] != "ok" and health["local_copy"]["served"] == [ENTITY]
    assert health["entities"][ENTITY]["is_from_local_copy"]
    assert f"{ENTITY} is served from its local copy" in caplog.text
    assert service.registry.get_sample_value("optimizer_bidder_served_from_copy", {"entity": ENTITY}) == 1


def test_a_bidder_that_starts_without_the_object_store_serves_the_copy(market, folder, served):
    refresher = market.refresher(store=store_away(), copies=CopyKeeper(folder))
    report = refresher.refresh()
    assert "did not answer" in report.errors[ENTITY]
    service = BidderService(refresher)
    assert service.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"]
    assert service.health()["entities"][ENTITY]["is_from_local_copy"]


def test_bidders_that_share_a_folder_confirm_the_same_copy_whoever_saved_it(market, folder, served):
    now = datetime(2026, 2, 3, 8, tzinfo=UTC)
    first, second = (market.refresher(copies=CopyKeeper(folder), clock=lambda: now) for _ in range(2))
    for refresher in (first, second, first):  # both save the copy, the second last; then the first confirms it
        now += timedelta(hours=1)
        refresher.refresh()
    service = away(market, folder)
    service.refresh()
    assert service.refresher.confirmed[ENTITY] == now


def test_the_copy_goes_on_being_served_when_the_systems_are_back_and_nothing_changed(market, folder, served):
    service = away(market, folder)
    service.refresh()
    generation = service.refresher.generations[ENTITY]
    service.refresher.engine = market.engine
    assert service.refresh().outcome == "unchanged"
    assert service.refresher.generations[ENTITY] is generation
    assert not service.health()["entities"][ENTITY]["is_from_local_copy"]


def test_the_copy_is_what_was_switched_to_last(market, folder, served):
    refresher = market.refresher(copies=CopyKeeper(folder))
    second = market.publish(bids=NEW_BIDS)
    market.deploy({served: 80, second: 20})
    refresher.refresh()
    service = away(market, folder)
    service.refresh()
    generation = service.refresher.generations[ENTITY]
    assert generation.percents == {served: 80, second: 20}
    assert generation.fingerprint == refresher.generations[ENTITY].fingerprint


def test_an_entity_that_is_set_inactive_leaves_no_copy(market, folder, served):
    market.execute("UPDATE opt_entities SET status = 'I' WHERE entity_id = 1")
    market.refresher(copies=CopyKeeper(folder)).refresh()
    service = away(market, folder)
    service.refresh()
    assert service.price(ask(), entity_code=ENTITY).reason is Reason.NOT_SERVED
    assert list(folder.iterdir()) == []


def test_entities_that_another_bidder_of_the_folder_serves_keep_their_copies(market, folder, served):
    market.refresher(copies=CopyKeeper(folder), entity_codes=["drugs_com"]).refresh()
    assert (folder / f"{ENTITY}.copy").exists()


def test_no_single_wrong_byte_of_a_copy_is_served(market, folder, served, caplog):
    path = folder / f"{ENTITY}.copy"
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(bytes(damaged))
        keeper = CopyKeeper(folder)
        with pytest.raises(Exception, match="is not served"):
            keeper.restore(ENTITY)
        assert "is not served" in keeper.errors[ENTITY]


@pytest.mark.parametrize("content", [b"", b"\n", b"0" * 64, b"{}"])
def test_a_copy_that_is_cut_is_refused_and_said(market, folder, served, content):
    (folder / f"{ENTITY}.copy").write_bytes(content)
    service = away(market, folder)
    report = service.refresh()
    assert "is damaged" in report.errors[ENTITY] and not service.is_ready()
    assert service.price(ask(), entity_code=ENTITY).reason is Reason.NOT_SERVED
    assert "is damaged" in service.health()["local_copy"]["errors"][ENTITY]


def sealed(content: bytes) -> bytes:
    """Return the content as a copy with the right checksum."""
    return sha256(content).hexdigest().encode() + b"\n" + content


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format":1', '"format":2', "of another release"),
        ('"entity_code":"drugs_hcp"', '"entity_code":"drugs_com"', "is of entity drugs_com"),
        (f"Ohio|android,{BIDS['Ohio|android']}", "Ohio|android,9.0", "size or sha256 differ"),
        (r"\"max_bid_cpm\": 30.0", r"\"max_bid_cpm\": 90.0", "its sha256 differs"),
        ('"traffic_pct":100', '"traffic_pct":80', "sum to 80 instead of 100"),
        ('Z","entity', '","entity', "of another release"),  # a time without its zone
    ],
)
def test_a_copy_that_does_not_fit_itself_is_refused_whatever_its_checksum_says(
    market, folder, served, old, new, message
):
    path = folder / f"{ENTITY}.copy"
    payload = path.read_text(encoding="utf-8").partition("\n")[2]
    assert payload.count(old) >= 1
    path.write_bytes(sealed(payload.replace(old, new, 1).encode()))
    service = away(market, folder)
    assert message in service.refresh().errors[ENTITY]
    assert service.price(ask(), entity_code=ENTITY).reason is Reason.NOT_SERVED


def test_a_copy_of_a_bidder_whose_clock_is_ahead_is_not_younger_than_now(market, folder):
    ahead = datetime.now(UTC) + timedelta(days=1)
    market.deploy({market.publish(): 100})
    market.refresher(copies=CopyKeeper(folder), clock=lambda: ahead).refresh()
    (folder / f"{ENTITY}.confirmed").unlink()
    service = away(market, folder)
    service.refresh()
    assert service.refresher.confirmed[ENTITY] <= datetime.now(UTC)


def test_a_folder_that_cannot_be_read_costs_no_refresh_and_is_said(market, tmp_path):
    market.deploy({market.publish(): 100})
    keeper = CopyKeeper(tmp_path / ("x" * 300))  # no file system takes such a name
    service = BidderService(market.refresher(copies=keeper))
    assert (service.refresh().outcome, service.refresh().outcome) == ("switched", "unchanged")
    assert service.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"]
    assert all("too long" in error for error in service.health()["local_copy"]["errors"].values())
    assert set(keeper.errors) == {"copy folder", ENTITY}


def test_a_disk_that_takes_no_copy_costs_no_bid_and_is_tried_again(market, tmp_path):
    (tmp_path / "copies").write_text("a file where the folder should be")
    market.deploy({market.publish(): 100})
    service = BidderService(market.refresher(copies=CopyKeeper(tmp_path / "copies")))
    assert service.refresh().outcome == "switched"
    assert service.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"]
    assert "cannot be written" in service.health()["local_copy"]["errors"][ENTITY]
    assert service.registry.get_sample_value("optimizer_bidder_local_copy_errors") == 1
    (tmp_path / "copies").unlink()
    assert service.refresh().outcome == "unchanged"
    assert service.health()["local_copy"]["errors"] == {}
    assert away(market, tmp_path / "copies").refresh().switched == (ENTITY,)


def test_the_copy_is_readable_by_its_owner_only(folder, served):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_nothing_is_copied_without_a_folder(market, tmp_path):
    market.deploy({market.publish(): 100})
    before = set(tmp_path.iterdir())
    service = BidderService(market.refresher())
    service.refresh()
    assert service.health()["local_copy"] is None and {it for it in tmp_path.iterdir() if it.is_dir()} <= before


def test_a_bidder_whose_deployments_are_too_old_stops_bidding_and_says_why(market):
    market.deploy({market.publish(): 100})
    service = BidderService(market.refresher(), max_age_s=3.0)
    service.refresh()
    assert service.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"]
    market.execute("UPDATE opt_deployments SET traffic_pct = 50")
    time.sleep(3.1)
    service.refresh()
    priced = service.price(ask(), entity_code=ENTITY)
    assert (priced.reason, priced.bid_cpm) == (Reason.TOO_OLD, None)
    assert not service.is_ready() and service.health()["status"] == "too_old"
    market.execute("UPDATE opt_deployments SET traffic_pct = 100")
    service.refresh()
    assert service.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"] and service.is_ready()


def test_the_age_of_a_copy_is_counted_from_when_it_was_last_found_deployed(market, folder, served):
    past = datetime.now(UTC) - timedelta(hours=1)
    market.refresher(copies=CopyKeeper(folder), clock=lambda: past).refresh()
    young, old = away(market, folder, max_age_s=7200), away(market, folder, max_age_s=1800)
    for service in (young, old):
        service.refresh()
    assert young.price(ask(), entity_code=ENTITY).bid_cpm == BIDS["Ohio|android"]
    assert old.price(ask(), entity_code=ENTITY).reason is Reason.TOO_OLD


@pytest.mark.parametrize("noted", [b"", b"{}", b'{"sha256": "0", "confirmed_at": "2999-01-01T00:00:00Z"}'])
def test_a_note_that_is_damaged_or_of_another_copy_makes_nothing_younger(market, folder, noted):
    past = datetime.now(UTC) - timedelta(hours=1)
    market.deploy({market.publish(): 100})
    market.refresher(copies=CopyKeeper(folder), clock=lambda: past).refresh()
    (folder / f"{ENTITY}.confirmed").write_bytes(noted)
    service = away(market, folder, max_age_s=1800)
    service.refresh()
    assert service.price(ask(), entity_code=ENTITY).reason is Reason.TOO_OLD
