"""The snapshot follows every change of what is live, and is kept if the new split cannot be served."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from itertools import product
from pathlib import Path

import pytest
from bidder.conftest import BUCKET
from bidder.market import DOMAIN, DOMAINS, ENTITY, NPIS, OS, STATE, Market
from control_plane.catalog import NOW
from servers.embedded import closed_port
from servers.node import check_vectors
from sqlalchemy import text

from lab.stack import LocalStack
from lab.stack.clients import connect_objects
from optimizer.artifacts.serving_snapshot import read_snapshot, snapshot_uri
from optimizer.artifacts.store import ObjectStore, StoredObject
from optimizer.bidder.macro_requests import PriceBody
from optimizer.bidder.pricing import price
from optimizer.control_plane.engine import reading
from optimizer.control_plane.serving_snapshots import list_behind, list_late, read_written
from optimizer.deployment.serving_snapshots import repair_object, update_after_change, update_late, update_snapshot
from optimizer.errors import ArtifactError, DeploymentError, UnavailableError, UnknownEntity


@pytest.fixture
def market(market: Market) -> Market:
    """Return the market, with the entity's prefix where its runs are published."""
    market.execute(f"UPDATE opt_entities SET s3_base_path = '{market.base_uri}' WHERE entity_code = '{ENTITY}'")
    return market


def update(market: Market, *, store: ObjectStore | None = None, **fields) -> int | None:
    return update_snapshot(ENTITY, engine=market.engine, store=store or market.store, now=NOW, **fields)


def read(market: Market) -> dict:
    return json.loads(market.store.get_bytes(market.base_uri + "snapshot.json"))


def percents(market: Market) -> dict[str, int]:
    return {run["run_id"]: run["traffic_pct"] for run in read(market)["runs"]}


def test_a_snapshot_has_all_that_a_bidder_needs_of_the_control_plane(market: Market):
    first, second = market.publish(), market.publish()
    market.execute(
        f"INSERT INTO opt_feature_macros (opt_id, feature_name, macro_template) VALUES (1, 'DOMAIN', '{DOMAIN}')"
    )
    market.deploy({second: 20, first: 80})
    assert update(market) == 1
    manifests = {run_id: f"{market.uris[run_id]}manifest.json" for run_id in (first, second)}
    assert read(market) == {
        "format": 1,
        "sequence": 1,
        "entity_code": ENTITY,
        "written_at": "2026-02-03T15:00:00Z",
        "is_active": True,
        "domain_macro": DOMAIN,
        "npi_macro": None,
        "runs": [
            {
                "run_id": run_id,
                "traffic_pct": percent,
                "manifest_uri": manifests[run_id],
                "manifest_sha256": sha256(market.store.get_bytes(manifests[run_id])).hexdigest(),
                "macros": [STATE, OS],
            }
            for run_id, percent in ((first, 80), (second, 20))
        ],
    }


def test_a_snapshot_is_written_once_for_what_is_live_and_again_after_any_change(market: Market):
    first, second = market.publish(), market.publish()
    market.deploy({first: 100})
    assert list_behind(market.engine) == [ENTITY]
    assert (update(market), update(market)) == (1, None)
    assert list_behind(market.engine) == []
    market.deploy({first: 80, second: 20})
    assert list_behind(market.engine) == list_late(market.engine) == [ENTITY]
    assert update_late([ENTITY], engine=market.engine, store=market.store, now=NOW) == [ENTITY]
    assert (percents(market), list_behind(market.engine)) == ({first: 80, second: 20}, [])


def test_a_split_that_others_change_with_their_own_sql_is_behind_until_it_is_written(market: Market):
    first, second = market.publish(), market.publish()
    market.deploy({first: 80, second: 20})
    update(market)
    market.execute(
        f"UPDATE opt_deployments SET traffic_pct = 100 - traffic_pct WHERE run_id IN ('{first}', '{second}')"
    )
    assert list_behind(market.engine) == [ENTITY]
    assert update(market) == 2
    assert percents(market) == {first: 20, second: 80}


def test_an_entity_that_is_set_inactive_gets_a_last_snapshot_that_stops_the_bidding(market: Market):
    market.deploy({market.publish(): 100})
    assert update(market) == 1
    market.execute(f"UPDATE opt_entities SET status = 'I' WHERE entity_code = '{ENTITY}'")
    assert update(market) == 2
    assert (read(market)["is_active"], read(market)["runs"]) == (False, [])
    assert list_behind(market.engine) == []


def test_an_entity_without_deployments_keeps_the_snapshot_that_it_has(market: Market):
    run_id = market.publish()
    assert (update(market), list_behind(market.engine)) == (None, [])
    market.deploy({run_id: 100})
    update(market)
    market.execute("UPDATE opt_deployments SET is_active = 0, deactivated_at = deployed_at")
    assert (update(market), list_behind(market.engine)) == (None, [])
    assert percents(market) == {run_id: 100}


def test_runs_with_no_traffic_are_left_out_and_their_files_do_not_matter(market: Market):
    first, second = market.publish(), market.publish()
    market.deploy({first: 50, second: 50})
    market.execute(f"UPDATE opt_deployments SET traffic_pct = CASE run_id WHEN '{first}' THEN 100 ELSE 0 END")
    market.store.delete(market.uris[second] + "manifest.json")
    update(market)
    assert percents(market) == {first: 100}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE opt_deployments SET traffic_pct = 60", "the active percents sum to 60 instead of 100"),
        ("UPDATE opt_runs SET validation_status = 'failed'", "is completed, its validation failed"),
        (
            "UPDATE opt_feature_macros SET macro_template = '[OTHER]' WHERE macro_id = 3",
            r"\[OTHER\] by opt_run_features",
        ),
    ],
)
def test_what_cannot_be_served_keeps_the_snapshot_and_the_log_says_why(market: Market, caplog, damage, message):
    run_id = market.publish()
    market.deploy({run_id: 100})
    update(market)
    market.execute(damage)
    with pytest.raises((DeploymentError, ArtifactError), match=message):
        update(market)
    assert percents(market) == {run_id: 100}
    assert update_late([ENTITY], engine=market.engine, store=market.store, now=NOW) == []
    assert f"the snapshot of {ENTITY} stays as it is" in caplog.text
    assert list_behind(market.engine) == [ENTITY]


class Slow(ObjectStore):
    """A store in which other things happen just before the first snapshot is written."""

    def put_bytes(self, uri: str, content: bytes) -> StoredObject:
        meanwhile.pop()() if meanwhile else None
        return super().put_bytes(uri, content)


meanwhile: list[Callable[[], object]] = []


def test_of_two_writers_the_one_that_was_late_writes_what_is_live_now(market: Market):
    first, second = market.publish(), market.publish()
    market.deploy({first: 100})

    def deploy_and_write() -> None:
        market.deploy({first: 30, second: 70})
        assert update(market) == 2

    meanwhile.append(deploy_and_write)
    assert update(market, store=Slow(market.store.client)) == 3
    assert (read(market)["sequence"], percents(market)) == (3, {first: 30, second: 70})
    assert list_behind(market.engine) == []


def test_a_writer_that_dies_before_it_confirms_leaves_the_entity_behind(market: Market):
    market.deploy({market.publish(): 100})
    update(market)
    market.deploy({market.publish(): 100})
    meanwhile.append(lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        update(market, store=Slow(market.store.client))
    assert list_behind(market.engine) == [ENTITY]
    assert update(market) == 3


@pytest.fixture
def away(systems: LocalStack) -> Iterator[ObjectStore]:
    """Return an object store that does not answer."""
    client = connect_objects(
        systems.settings.model_copy(update={"objects_port": closed_port()}), timeout_s=2, attempts=1
    )
    yield ObjectStore(client)
    client.close()


def test_a_change_stands_where_the_object_store_is_away_and_the_sentence_says_what_comes(
    market: Market, away: ObjectStore
):
    run_id = market.publish()
    market.deploy({run_id: 100})
    late = update_after_change(ENTITY, engine=market.engine, store=away, now=NOW)
    assert late is not None and late.startswith(f"entity {ENTITY}: the change is made, but the snapshot")
    assert late.endswith("the DAG `pending_runs` writes it within a minute")
    with pytest.raises(UnavailableError):
        update_late([ENTITY], engine=market.engine, store=away, now=NOW)
    assert list_late(market.engine) == [ENTITY]
    assert update_after_change(ENTITY, engine=market.engine, store=market.store, now=NOW) is None
    assert percents(market) == {run_id: 100}


def test_an_object_that_was_removed_or_replaced_is_written_again(market: Market):
    market.deploy({market.publish(): 100})
    repair = lambda: repair_object(ENTITY, engine=market.engine, store=market.store, now=NOW)  # noqa: E731
    assert (repair(), repair()) == (1, None)
    uri = snapshot_uri(market.base_uri)
    old = market.store.get_bytes(uri)
    market.store.delete(uri)
    assert (repair(), repair()) == (2, None)
    market.store.put_bytes(uri, old)
    assert repair() == 3
    market.store.put_bytes(uri, b"{")
    assert repair() == 4
    assert read_snapshot(market.store, uri).sequence == 4
    written = read_written(market.engine, ENTITY)
    assert written is not None and (written.sequence, written.is_confirmed) == (4, True)


def test_numbers_go_on_rising_where_the_tables_were_restored_from_a_backup(market: Market):
    first, second = market.publish(), market.publish()
    market.deploy({first: 100})
    for again in (False, True, True):
        update(market, again=again)
    market.execute("DELETE FROM opt_serving_snapshots")
    market.deploy({second: 100})
    assert update(market) == 4
    market.execute("UPDATE opt_serving_snapshots SET sequence = 2, content_hash = NULL")
    assert update(market) == 5
    assert (read(market)["sequence"], list_behind(market.engine)) == (5, [])


def test_the_time_of_writing_is_kept(market: Market):
    market.deploy({market.publish(): 100})
    update_snapshot(ENTITY, engine=market.engine, store=market.store, now=NOW + timedelta(hours=1))
    with reading(market.engine) as connection:
        assert str(connection.scalar(text("SELECT written_at FROM opt_serving_snapshots"))).startswith(
            "2026-02-03 16:00:00"
        )


def test_an_unknown_entity_is_an_error(market: Market):
    with pytest.raises(UnknownEntity, match="entity 'nobody' is not in opt_entities"):
        update_snapshot("nobody", engine=market.engine, store=market.store, now=NOW)


def copy_objects(market: Market, folder: Path) -> list[Path]:
    """Copy what is below the entity's prefix to folder/objects/bucket/key, and return the files."""
    files = []
    for key in market.store.list_keys(market.base_uri):
        files.append(folder / "objects" / BUCKET / key)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        market.store.get_file(f"s3://{BUCKET}/{key}", files[-1])
    return files


def test_a_bidder_in_node_prices_from_the_snapshot_as_ours_does_from_the_tables(market: Market, tmp_path: Path):
    domains, npis = {**DOMAINS, 'a,"b"\n.example': 2.0}, NPIS
    split = {market.publish(domains=domains, npis=npis): 60, market.publish(bids={"Ohio|android": 7.0}): 40}
    market.execute(
        f"INSERT INTO opt_feature_macros (opt_id, feature_name, macro_template) VALUES (1, 'domain', '{DOMAIN}')"
    )
    market.deploy(split)
    update(market)
    refresher = market.refresher()
    refresher.refresh()
    vectors = []
    for number, (state, domain, floor) in enumerate(product(("Ohio", "New York", None), domains, (None, 9.0)), start=1):
        macros = {STATE: state, OS: "android", DOMAIN: domain}
        body = {"entity_code": ENTITY, "macros": macros, "user_id": f"user-{number}", "floor_cpm": floor}
        priced = price(PriceBody.model_validate(body).request(), generation=refresher.generations[ENTITY])
        vectors.append(json.dumps({"request": body, "price": priced._asdict()}))
    (tmp_path / "vectors.jsonl").write_text("\n".join(vectors))
    (tmp_path / "entities.json").write_text(json.dumps({ENTITY: snapshot_uri(market.base_uri)}))
    copy_objects(market, tmp_path)
    done = check_vectors(tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, f"{len(vectors)} of {len(vectors)} agree")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("snapshot.json", lambda it: it.replace(b'"format": 1', b'"format": 2'), "has format 2, not 1"),
        ("snapshot.json", lambda it: it.replace(b'"traffic_pct": 100', b'"traffic_pct": 80'), "sum to 80, not to 100"),
        ("manifest.json", lambda it: it.replace(b"30.0", b"90.0"), "is not what the run wrote"),
        ("memcache.csv", lambda it: it.replace(b"12.0", b"92.0"), "is not what the run wrote"),
    ],
)
def test_the_bidder_in_node_refuses_what_is_not_whole(market: Market, tmp_path: Path, name, damage, message):
    run_id = market.publish()
    market.deploy({run_id: 100})
    update(market)
    (path,) = (it for it in copy_objects(market, tmp_path) if it.name == name)
    changed = damage(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    (tmp_path / "vectors.jsonl").write_text("")
    (tmp_path / "entities.json").write_text(json.dumps({ENTITY: snapshot_uri(market.base_uri)}))
    done = check_vectors(tmp_path)
    assert done.returncode == 1 and message in done.stderr
