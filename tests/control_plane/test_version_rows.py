"""The version's rows follow the code, and nothing else changes."""

import pytest
from sqlalchemy import delete, event, insert, select, update

from optimizer.control_plane import tables
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.entities import read_definition
from optimizer.control_plane.version_rows import load_version
from optimizer.core.config.settings import config_catalogue

VERSION_ID = 3  # v3, which the catalog gives three keys of an older code, one with other bounds


@pytest.fixture
def older(engine):
    """Return an engine whose version also has a key that the code no longer knows, and changed texts."""
    keys = tables.version_configs
    with transaction(engine) as connection:
        old = {"config_key": "smoothing", "config_section": "technical", "display_name": "Smoothing"}
        connection.execute(insert(keys).values(version_id=VERSION_ID, data_type="bool", default_value="true", **old))
        of_key = (keys.c.version_id == VERSION_ID, keys.c.config_key == "target_win_rate")
        changed = {"description": "old words", "allowed_values": ["0.5"], "is_ui_visible": False, "is_required": False}
        connection.execute(update(keys).where(*of_key).values(**changed))
        supported = ["target_win_rate", "max_bid_cpm", "floor_available", "smoothing"]
        of_version = tables.versions.c.version_id == VERSION_ID
        connection.execute(update(tables.versions).where(of_version).values(supported_configs=supported))
        connection.execute(
            update(tables.entities).where(tables.entities.c.entity_id == 1).values(current_version_id=VERSION_ID)
        )
    return engine


def read_others(engine) -> list:
    """Return every row that a change of this version's keys must leave alone."""
    keys = tables.version_configs
    with reading(engine) as connection:
        statements = (
            select(keys).where(keys.c.version_id != VERSION_ID),
            select(tables.versions).where(tables.versions.c.version_id != VERSION_ID),
            select(tables.entity_configs),
            select(tables.entities),
            select(tables.optimizers),
        )
        return [sorted(connection.execute(statement).all(), key=lambda row: row[0]) for statement in statements]


def test_the_keys_of_an_older_code_become_those_of_this_one_and_all_else_stays(older):
    others = read_others(older)
    assert load_version(older) == "v3"
    definition = read_definition(older, "drugs_hcp")
    catalogue = {key.config_key: key for key in config_catalogue()}
    assert {key.config_key: key for key in definition.config_keys} == catalogue
    assert definition.supported_keys == tuple(catalogue)
    merged = definition.merged_config()
    assert merged.values["npi_enabled"] is True and merged.values["lookback_days"] == 60
    assert read_others(older) == others


def test_rows_that_are_those_of_the_code_are_not_written_again(older):
    load_version(older)
    statements: list[str] = []
    event.listen(older, "before_cursor_execute", lambda *call: statements.append(call[2]))
    load_version(older)
    written = [statement for statement in statements if statement.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert statements and written == []


def test_a_key_that_stays_keeps_its_row(older):
    keys = tables.version_configs
    of_version = select(keys.c.config_key, keys.c.config_id).where(keys.c.version_id == VERSION_ID)
    with reading(older) as connection:
        before = dict(connection.execute(of_version).all())
    load_version(older)
    with reading(older) as connection:
        after = dict(connection.execute(of_version).all())
    assert before.keys() - after.keys() == {"smoothing"}
    assert all(after[name] == config_id for name, config_id in before.items() if name != "smoothing")


def test_an_empty_control_plane_gets_the_version_with_all_keys(older):
    with transaction(older) as connection:
        connection.execute(delete(tables.entity_configs))
        connection.execute(delete(tables.entities))
        connection.execute(delete(tables.feature_macros))
        connection.execute(delete(tables.version_configs))
        connection.execute(delete(tables.versions))
        connection.execute(delete(tables.optimizers))
    load_version(older)
    with reading(older) as connection:
        names = connection.scalars(select(tables.version_configs.c.config_key)).all()
        assert set(names) == {key.config_key for key in config_catalogue()}
