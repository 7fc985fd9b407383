"""Snapshot numbers rise for all writers, and only the writer of the latest number can confirm it."""

from concurrent.futures import ThreadPoolExecutor

from control_plane.catalog import NOW, complete_sample

from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.serving_snapshots import (
    WrittenSnapshot,
    confirm_snapshot,
    list_behind,
    list_late,
    plan_snapshot,
    read_written,
)

ENTITY = "drugs_hcp"


def deploy_one(engine) -> str:
    run_id = complete_sample(engine, "first")
    deploy(engine, entity_code=ENTITY, split={run_id: 100}, author=Author("test"), now=NOW)
    return run_id


def test_a_snapshot_is_late_until_it_is_confirmed(engine):
    assert list_behind(engine) == []
    deploy_one(engine)
    assert (list_behind(engine), list_late(engine), read_written(engine, ENTITY)) == ([ENTITY], [], None)
    planned = plan_snapshot(engine, ENTITY)
    assert list_behind(engine) == list_late(engine) == [ENTITY]
    assert confirm_snapshot(engine, planned, now=NOW)
    assert list_behind(engine) == list_late(engine) == []
    assert plan_snapshot(engine, ENTITY) is None
    assert read_written(engine, ENTITY) == WrittenSnapshot(1, is_confirmed=True)


def test_only_the_writer_with_the_last_number_confirms_and_the_other_writes_again(engine):
    deploy_one(engine)
    slow, quick = plan_snapshot(engine, ENTITY), plan_snapshot(engine, ENTITY)
    assert (slow.sequence, quick.sequence) == (1, 2)
    assert confirm_snapshot(engine, quick, now=NOW)
    assert not confirm_snapshot(engine, slow, now=NOW)
    again = plan_snapshot(engine, ENTITY, again=True)
    assert again.sequence == 3 and not confirm_snapshot(engine, quick, now=NOW)
    assert confirm_snapshot(engine, again, now=NOW)


def test_writers_at_the_same_moment_get_numbers_of_their_own(engine):
    deploy_one(engine)
    with ThreadPoolExecutor(8) as pool:
        planned = list(pool.map(lambda _: plan_snapshot(engine, ENTITY, again=True), range(16)))
    assert sorted(one.sequence for one in planned) == list(range(1, 17))
    confirmed = [one.sequence for one in planned if confirm_snapshot(engine, one, now=NOW)]
    assert confirmed == [16]
