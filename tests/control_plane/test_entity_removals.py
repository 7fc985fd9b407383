from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from optimizer.control_plane import tables
from optimizer.control_plane.audit import Author
from optimizer.control_plane.engine import reading
from optimizer.control_plane.entity_removals import confirm_entities, read_confirmed_count
from optimizer.errors import ConfigError

NOW = datetime(2026, 2, 1, 9, tzinfo=UTC)


def test_the_newest_confirmation_counts_and_the_audit_says_who_made_it(engine):
    assert read_confirmed_count(engine) is None
    with reading(engine) as connection:
        present = len(connection.execute(select(tables.entities.c.entity_id)).all())
    for name in ("anna", "ben"):
        confirm_entities(engine, present, author=Author(name, comment="two clients left"), now=NOW)
    assert read_confirmed_count(engine) == present
    with reading(engine) as connection:
        rows = connection.execute(select(tables.audit).order_by(tables.audit.c.audit_id)).mappings().all()
    assert [(row["actor"], row["action"], row["before_value"], row["after_value"]) for row in rows] == [
        ("anna", "confirm_entities", {"entities": None}, {"entities": present}),
        ("ben", "confirm_entities", {"entities": present}, {"entities": present}),
    ]


def test_another_number_than_there_are_rows_is_refused(engine):
    with pytest.raises(ConfigError, match=r"opt_entities has \d+ rows and not 99; look at them"):
        confirm_entities(engine, 99, author=Author("anna"), now=NOW)
    assert read_confirmed_count(engine) is None
