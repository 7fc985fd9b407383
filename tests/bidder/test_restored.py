"""After a backup of the control plane is restored, the object store is ahead of it."""

import shutil
from pathlib import Path

import pytest
from bidder.market import ENTITY, Market, ask
from control_plane.catalog import NOW
from servers.embedded import closed_port

from lab.stack import LocalStack
from lab.stack.clients import connect_objects
from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.pricing import price
from optimizer.control_plane.engine import open_engine
from optimizer.deployment.serving_snapshots import repair_object, update_snapshot
from optimizer.lifecycle.object_checks import compare_objects

OTHER_BUCKET = "entity drugs_com"
"""The second entity: its bucket does not exist."""


@pytest.fixture
def market(market: Market) -> Market:
    """Return the market with one live run, below the folder where an entity's runs are."""
    market.execute(f"UPDATE opt_entities SET s3_base_path = '{market.base_uri}' WHERE entity_code = '{ENTITY}'")
    market.execute(
        "UPDATE opt_entities SET s3_base_path = 's3://never-created/drugs_com/' WHERE entity_code = 'drugs_com'"
    )
    market.base_uri += "runs/"
    market.deploy({market.publish(): 100})
    write_snapshot(market)
    return market


def write_snapshot(market: Market) -> int | None:
    return update_snapshot(ENTITY, engine=market.engine, store=market.store, now=NOW)


def back_up(market: Market) -> Path:
    market.engine.dispose()
    return Path(shutil.copy(market.folder / "control_plane.db", market.folder / "backup.db"))


def restore(market: Market, backup: Path) -> None:
    market.engine.dispose()
    market.engine = open_engine(f"sqlite:///{shutil.copy(backup, market.folder / 'restored.db')}")


def look(market: Market, store: ObjectStore | None = None) -> list[tuple[str, str]]:
    found = compare_objects(market.engine, store=store or market.store)
    return [(finding.subject, finding.problem) for finding in found if finding.subject != OTHER_BUCKET]


def test_runs_and_a_snapshot_that_are_newer_than_the_backup_are_found(market: Market):
    assert look(market) == []
    backup = back_up(market)
    later = [market.publish(), market.publish()]
    market.deploy({later[1]: 100})
    write_snapshot(market)
    assert look(market) == []
    restore(market, backup)
    runs, snapshot = look(market)
    assert runs == (
        f"entity {ENTITY}",
        f"2 runs below {market.base_uri} without a row in opt_runs, the last by name: {max(later)}",
    )
    assert snapshot[1].startswith(
        "its snapshot in the object store is number 2, and the control plane wrote number 1: bidders that read it"
    )


def test_what_the_monitor_repairs_is_the_restored_split_with_a_number_that_readers_accept(market: Market):
    backup, (first,) = back_up(market), market.uris
    market.deploy({market.publish(): 100})
    write_snapshot(market)
    restore(market, backup)
    assert repair_object(ENTITY, engine=market.engine, store=market.store, now=NOW) == 3
    assert [problem for _, problem in look(market) if "snapshot" in problem] == []
    refresher = market.refresher()
    refresher.refresh()
    assert price(ask(), generation=refresher.generations[ENTITY]).run_id == first


def test_a_bidder_that_runs_through_the_restore_goes_back_to_the_restored_split(market: Market):
    backup, (first,) = back_up(market), market.uris
    later = market.publish()
    market.deploy({later: 100})
    refresher = market.refresher()
    refresher.refresh()
    assert price(ask(), generation=refresher.generations[ENTITY]).run_id == later
    restore(market, backup)
    refresher.engine = market.engine
    assert refresher.refresh().switched == (ENTITY,)
    assert price(ask(), generation=refresher.generations[ENTITY]).run_id == first


def test_a_snapshot_of_an_entity_that_the_backup_has_no_split_of_is_found(market: Market):
    market.execute("DELETE FROM opt_serving_snapshots")
    market.execute("DELETE FROM opt_deployments")
    ((_, problem),) = look(market)
    assert "is number 1, and the control plane wrote none" in problem


def test_a_snapshot_that_is_gone_is_found(market: Market):
    market.store.delete(market.base_uri.removesuffix("runs/") + "snapshot.json")
    ((_, problem),) = look(market)
    assert problem.startswith("its snapshot cannot be read: reading s3://")


def test_a_bucket_that_does_not_exist_is_a_finding_of_its_entity(market: Market):
    found = {finding.subject: finding for finding in compare_objects(market.engine, store=market.store)}
    assert "NoSuchBucket" in found[OTHER_BUCKET].problem and "s3_base_path" in found[OTHER_BUCKET].todo


def test_an_object_store_that_is_away_or_denies_access_is_one_finding(market: Market, systems: LocalStack):
    away = {"objects_port": closed_port()}
    for changed, problem in ((away, "did not answer"), ({"objects_access_key": "WRONG"}, "check its credentials")):
        client = connect_objects(systems.settings.model_copy(update=changed), timeout_s=2, attempts=1)
        ((subject, found),) = look(market, ObjectStore(client))
        client.close()
        assert subject == "object store" and problem in found
