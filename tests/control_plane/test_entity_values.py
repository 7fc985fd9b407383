"""A client's own config values: set, replaced and removed with their author, and never on top of what another set."""

from datetime import timedelta

import pytest
from control_plane.catalog import NOW

from optimizer.control_plane.audit import Author, read_audit
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.entity_values import change_values, read_values
from optimizer.control_plane.runs import cancel_run, list_unclaimed, read_run_values, request_run
from optimizer.core.config.merge import parse_value
from optimizer.errors import ConfigChanged, ConfigError

ANNA, BEN = Author("anna", comment="more reach"), Author("ben", comment="less")
ENTITY = "drugs_hcp"


def parse(definition):
    for key in definition.config_keys:
        if key.config_key in definition.entity_values:
            parse_value(key, definition.entity_values[key.config_key])


def change(engine, changes, *, seen=None, author=ANNA, now=NOW):
    return change_values(engine, ENTITY, changes, seen=seen, check=parse, author=author, now=now)


def test_a_value_is_set_replaced_and_removed_with_who_when_and_why(engine):
    change(engine, {"target_win_rate": "0.4"})
    later = NOW + timedelta(hours=1)
    change(engine, {"target_win_rate": "0.6", "max_bid_cpm": "20"}, seen={"target_win_rate": "0.4"}, now=later)
    found = read_values(engine, ENTITY)["target_win_rate"]
    assert (found.config_value, found.updated_by, found.updated_at) == ("0.6", "anna", later)
    change(engine, {"target_win_rate": None}, author=BEN)
    assert "target_win_rate" not in read_values(engine, ENTITY)
    assert "target_win_rate" not in read_definition(engine, ENTITY).entity_values
    rows = [(row.actor, row.before_value, row.after_value, row.comment) for row in read_audit(engine, ENTITY)]
    assert rows == [
        ("ben", {"target_win_rate": "0.6"}, {"target_win_rate": None}, "less"),
        (
            "anna",
            {"target_win_rate": "0.4", "max_bid_cpm": None},
            {"target_win_rate": "0.6", "max_bid_cpm": "20"},
            "more reach",
        ),
        ("anna", {"target_win_rate": None}, {"target_win_rate": "0.4"}, "more reach"),
    ]


def test_a_change_that_was_decided_on_another_value_is_refused_with_who_set_it(engine):
    change(engine, {"target_win_rate": "0.4"}, seen={"target_win_rate": None})
    with pytest.raises(
        ConfigChanged, match=r"target_win_rate is 0\.4, set by anna at 2026-02-03 15:00 UTC, and was not"
    ):
        change(engine, {"target_win_rate": "0.6"}, seen={"target_win_rate": None}, author=BEN)
    assert read_values(engine, ENTITY)["target_win_rate"].config_value == "0.4"


def test_a_value_that_cannot_be_used_changes_nothing(engine):
    before = read_values(engine, ENTITY)
    with pytest.raises(ConfigError, match=r"target_win_rate=1\.4 is above its maximum 0\.99"):
        change(engine, {"max_bid_cpm": "20", "target_win_rate": "1.4"})
    assert read_values(engine, ENTITY) == before and read_audit(engine, ENTITY) == []


def test_a_change_to_what_is_there_writes_nothing(engine):
    change(engine, {"target_win_rate": "0.4"})
    change(engine, {"target_win_rate": "0.4"}, author=BEN)
    assert read_values(engine, ENTITY)["target_win_rate"].updated_by == "anna"
    assert len(read_audit(engine, ENTITY)) == 1


def test_a_requested_run_is_pending_with_its_values_as_the_uis(engine):
    definition = read_definition(engine, ENTITY)
    first, second = (
        request_run(engine, definition, values={"target_win_rate": value}, author=ANNA, now=NOW)
        for value in ("0.35", "0.36")
    )
    assert first.run_id != second.run_id
    assert [run.run_id for run in list_unclaimed(engine)] == sorted([first.run_id, second.run_id])
    assert (first.status, first.triggered_by, first.trigger_type) == ("pending", "anna", "manual")
    assert read_run_values(engine, first.run_id) == {"target_win_rate": "0.35"}
    (newest, _) = read_audit(engine, ENTITY)
    assert (newest.action, newest.run_id, newest.after_value) == (
        "request_run",
        second.run_id,
        {"target_win_rate": "0.36"},
    )


def test_the_same_request_while_the_first_one_waits_is_the_same_run(engine):
    definition = read_definition(engine, ENTITY)

    def ask(author=ANNA, seconds=0, **values: str) -> str:
        now = NOW + timedelta(seconds=seconds)
        return request_run(engine, definition, values=values, author=author, now=now).run_id

    first, plain = ask(target_win_rate="0.35"), ask()
    assert first != plain
    assert (ask(seconds=1, target_win_rate="0.35"), ask(seconds=1)) == (first, plain)
    assert len({first, ask(BEN, target_win_rate="0.35"), ask(target_win_rate="0.36")}) == 3
    assert len(read_audit(engine, ENTITY)) == 4
    assert cancel_run(engine, first, author=ANNA, now=NOW)
    assert ask(target_win_rate="0.35", seconds=3) != first
