"""Published runs in memory: read once, dropped when there are too many, never served against their row."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from control_plane.catalog import NOW, fill_catalog
from control_plane.databases import new_control_plane
from core.priced_runs import price, segment_table
from pipeline.published_runs import publish_run
from sqlalchemy import Engine

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane.records import Run
from optimizer.control_plane.runs import read_run
from optimizer.core.pricing.run_comparison import compare_runs
from optimizer.core.pricing.segment_search import key_text
from optimizer.errors import ArtifactError, RunStateError
from optimizer.runs.published_runs import PublishedRuns

BUCKET = "published"
_numbers = count(1)


class CountedStore:
    """An object store that notes which objects were read."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.read: list[str] = []

    def get_bytes(self, uri: str) -> bytes:
        self.read.append(uri.rsplit("/", 1)[-1])
        return self._store.get_bytes(uri)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return new_control_plane(tmp_path / "control_plane.db", fill_catalog)


@pytest.fixture
def objects(systems: LocalStack) -> Iterator[ObjectStore]:
    systems.ensure_bucket(BUCKET)
    client = systems.connect_objects()
    yield ObjectStore(client)
    client.close()


@pytest.fixture
def publish(engine: Engine, objects: ObjectStore, tmp_path: Path) -> Callable[..., Run]:
    base_uri = f"s3://{BUCKET}/kept/{next(_numbers)}/"

    def publish(day: int, **values: Any) -> Run:
        run_id = publish_run(
            price(segment_table(day), **values),
            engine=engine,
            store=objects,
            base_uri=base_uri,
            folder=tmp_path / str(day),
            now=NOW + timedelta(days=day),
        )
        return read_run(engine, run_id)

    return publish


@pytest.fixture
def store(objects: ObjectStore) -> Any:
    return CountedStore(objects)


def test_the_small_files_are_read_without_the_bids_and_each_file_once(publish, store):
    published, row = PublishedRuns(), publish(0)
    figures = published.figures(row, store=store)
    assert figures.manifest.run_id == row.run_id
    assert sorted(store.read) == ["config.json", "manifest.json", "metrics.json"]
    for _ in range(3):
        bids, index = published.run(row, store=store).bids, published.index(row, store=store)
    key = bids["segment_key"].iloc[7]
    found = index.find(key_text(key).replace(",", ""), most=1)
    assert bids["segment_key"].iloc[list(found.places)].tolist() == [key]
    assert sorted(store.read) == ["config.json", "manifest.json", "memcache.csv", "metrics.json", "suggested_bids.csv"]


def test_many_who_ask_at_once_wait_for_one_reading(publish, store):
    published, row = PublishedRuns(), publish(0)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: published.run(row, store=store), range(16)))
    assert len({id(one.bids) for one in found}) == 1
    assert store.read.count("suggested_bids.csv") == 1


def test_the_runs_used_longest_ago_are_dropped(publish, store):
    first, second = publish(0), publish(1)
    published = PublishedRuns(most_segments=150)  # each has about a hundred
    for row in (first, second, second, first):
        published.run(row, store=store)
    assert store.read.count("suggested_bids.csv") == 3


def test_the_row_is_the_callers_and_removed_files_are_not_served_from_memory(publish, store):
    published, row = PublishedRuns(), publish(0)
    published.run(row, store=store)
    warned = row.model_copy(update={"validation_warnings": 3})
    assert published.run(warned, store=store).row.outcome == "passed with 3 warnings"
    removed = row.model_copy(update={"outputs_removed_at": NOW})
    for read in (published.run, published.figures):
        with pytest.raises(RunStateError, match="its files were removed on 2026-02-03"):
            read(removed, store=store)


def test_a_failed_reading_is_tried_again(publish, store, objects):
    published, row = PublishedRuns(), publish(0)
    content = objects.get_bytes(f"{row.s3_output_path}memcache.csv")
    objects.put_bytes(f"{row.s3_output_path}memcache.csv", b"x")
    with pytest.raises(ArtifactError, match="is not what run"):
        published.run(row, store=store)
    objects.put_bytes(f"{row.s3_output_path}memcache.csv", content)
    assert len(published.run(row, store=store).bids)


def test_a_comparison_is_that_of_the_runs_and_is_made_once(publish, store):
    published, first, second = PublishedRuns(), publish(0), publish(1, target_win_rate=0.5)
    pair = published.compare(first, second, store=store)
    runs = [published.run(row, store=store).for_comparison() for row in (first, second)]
    assert pair.comparison == compare_runs(*runs, top=10)
    assert published.compare(first, second, store=store) is pair
    assert published.compare(second, first, store=store) is not pair
    assert len(pair.changes) and set(pair.changes["segment_key"]) <= set(runs[1].bids["segment_key"]) | blocked(
        published, second, store
    )


def blocked(published: PublishedRuns, row: Run, store: Any) -> frozenset[str]:
    return published.run(row, store=store).blocked
