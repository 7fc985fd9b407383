"""Entities that are looked at together: one that fails hides no other."""

from dataclasses import replace
from typing import Any

import pytest
from pipeline.driver import ENTITY
from pipeline.first_run import FinishedRun
from pipeline.monitor.watching import daily
from pipeline.monitor.worlds import MORNING
from sqlalchemy import update

from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import tables
from optimizer.control_plane.engine import transaction
from optimizer.deployment.monitor import monitor_entities
from optimizer.errors import UnavailableError, WarehouseError


def test_an_entity_that_cannot_be_looked_at_hides_no_other_and_its_report_says_why(live, first_run: FinishedRun):
    pipeline, told = live("halved"), []
    codes = ["drugs_com", "no_such_entity", ENTITY]
    with transaction(pipeline.systems.engine) as connection:
        connection.execute(update(tables.entities).where(tables.entities.c.entity_code == codes[0]).values(status="I"))
    reports = monitor_entities(codes, systems=pipeline.systems, now=MORNING, after_each=told.append)
    assert [report["entity_code"] for report in reports] == codes and told == reports
    assert reports[0]["alerts"] == [
        "entity drugs_com: its live runs could not be looked at: ConfigError: entity drugs_com is inactive; set "
        "opt_entities.status to 'A' to run it"
    ]
    assert "UnknownEntity: entity 'no_such_entity' is not in opt_entities" in reports[1]["alerts"][0]
    assert [report["runs"] for report in reports[:2]] == [[], []] and reports[2]["runs"] and reports[2]["alerts"]
    assert daily(pipeline, first_run.handle.run_id)


class SilentOnce:
    """An object store that does not answer the first request."""

    def __init__(self, store: ObjectStore) -> None:
        self.store, self.asked = store, 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        if self.asked == 1:
            raise UnavailableError("the object store does not answer")
        return getattr(self.store, name)


def test_an_entity_for_which_a_system_was_silent_is_looked_at_again(live):
    pipeline = live("halved")
    store = SilentOnce(pipeline.systems.store)
    (report,) = monitor_entities([ENTITY], systems=replace(pipeline.systems, store=store), now=MORNING)
    assert report["runs"] and store.asked > 1


def test_where_the_warehouse_is_silent_the_task_is_to_be_tried_again(live):
    def away() -> None:
        raise UnavailableError("the warehouse does not answer")

    with pytest.raises(UnavailableError, match="the warehouse does not answer"):
        monitor_entities([ENTITY], systems=replace(live("halved").systems, connect_warehouse=away), now=MORNING)


def test_where_the_warehouse_refuses_the_query_for_all_each_entity_is_looked_at_by_itself(live):
    pipeline, asked = live("halved"), []

    def refusing_once() -> Any:
        asked.append("warehouse")
        if len(asked) == 1:
            raise WarehouseError("there is no column no_such_place")
        return pipeline.systems.connect_warehouse()

    systems = replace(pipeline.systems, connect_warehouse=refusing_once)
    (report,) = monitor_entities([ENTITY], systems=systems, now=MORNING)
    assert report["runs"] and len(asked) == 2
