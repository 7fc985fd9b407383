import pytest
from control_plane.catalog import entity_row, fill_catalog
from sqlalchemy import event, insert, text, update
from sqlalchemy.exc import DBAPIError

from optimizer.control_plane import tables
from optimizer.control_plane.engine import open_engine, transaction
from optimizer.control_plane.entities import read_definition, read_definitions
from optimizer.control_plane.records import EntityDefinition
from optimizer.control_plane.schema import migrate
from optimizer.core.config.merge import merge_config
from optimizer.errors import ConfigError


def insert_entity(engine, entity_id: int, entity_code: str, **columns) -> None:
    with transaction(engine) as connection:
        connection.execute(insert(tables.entities).values(**entity_row(entity_id, entity_code, **columns)))


def spoil_key(engine, **columns) -> None:
    of_version_5 = (tables.version_configs.c.version_id == 5, tables.version_configs.c.config_key == "max_bid_cpm")
    with transaction(engine) as connection:
        connection.execute(update(tables.version_configs).where(*of_version_5).values(**columns))


def test_a_definition_holds_all_that_a_config_merge_needs(engine):
    definition = read_definition(engine, "drugs_hcp")
    assert (definition.entity.entity_id, definition.entity.object_id, definition.version_code) == (1, 1334, "v5")
    assert definition.supported_keys == ("target_win_rate", "max_bid_cpm", "floor_available")
    assert [macro.feature_name for macro in definition.feature_macros] == [
        "internal_adspace_id",
        "geo_region_name",
        "os_code",
    ]
    merged = merge_config(
        definition.config_keys,
        entity_code="drugs_hcp",
        entity_values={"floor_available": definition.entity_values["floor_available"]},
        run_values={"max_bid_cpm": "30.00"},
        supported_keys=definition.supported_keys,
    )
    assert merged.values == {"target_win_rate": 0.5, "max_bid_cpm": 30.0, "floor_available": False}


def test_definitions_are_sorted_by_code_and_survive_a_snapshot_file(engine):
    insert_entity(engine, 3, "a_last_one", status="I")
    definitions, broken = read_definitions(engine)
    assert [definition.entity.entity_code for definition in definitions] == ["a_last_one", "drugs_com", "drugs_hcp"]
    assert broken == [] and definitions[0].entity.status == "I"
    assert [EntityDefinition.model_validate_json(each.model_dump_json()) for each in definitions] == definitions


@pytest.mark.parametrize(
    ("entity_code", "columns", "reason"),
    [
        ("bad code", {}, "entity_code='bad code'"),
        ("newline\n", {}, "entity_code="),
        ("other", {"current_version_id": None}, "current_version_id is NULL; set it"),
        ("other", {"current_version_id": 7}, "is version v7, which is inactive"),
        (
            "other",
            {"s3_base_path": "/data/optimizer"},
            "s3_base_path='/data/optimizer' must be of the form s3://bucket/prefix/",
        ),
        ("other", {"s3_base_path": "s3://tn-optimizer-data/"}, "must be of the form s3://bucket/prefix/"),
        ("other", {"current_version_id": 8}, "supported_configs={'a': 1} is not a JSON list of texts"),
    ],
)
def test_an_entity_that_cannot_be_used_is_set_aside_with_the_reason(engine, entity_code, columns, reason):
    version = {"opt_id": 1, "version_name": "spoilt"}
    with transaction(engine) as connection:
        connection.execute(insert(tables.versions).values(version_id=7, version_code="v7", status="I", **version))
        spoilt = insert(tables.versions).values(version_id=8, version_code="v8", supported_configs={"a": 1}, **version)
        connection.execute(spoilt)
    insert_entity(engine, 3, entity_code, **columns)
    definitions, (broken,) = read_definitions(engine)
    assert [definition.entity.entity_code for definition in definitions] == ["drugs_com", "drugs_hcp"]
    assert broken.entity_code == entity_code and reason in broken.reason
    with pytest.raises(ConfigError, match="cannot be used"):
        read_definition(engine, entity_code)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"data_type": "decimal"}, "data_type='decimal' cannot be used"),
        ({"config_section": "misc"}, "config_section='misc' cannot be used"),
        ({"min_value": "low"}, "min_value='low' is not a number"),
        ({"allowed_values": [1, 2]}, "allowed_values=[1, 2] is not a JSON list of texts"),
    ],
)
def test_a_version_with_a_spoilt_key_sets_its_entities_aside_and_no_others(engine, columns, reason):
    insert_entity(engine, 3, "on_version_3", current_version_id=3)
    spoil_key(engine, **columns)
    definitions, broken = read_definitions(engine)
    assert [definition.entity.entity_code for definition in definitions] == ["on_version_3"]
    assert [entity.entity_code for entity in broken] == ["drugs_com", "drugs_hcp"]
    assert "max_bid_cpm" in broken[0].reason and reason in broken[0].reason


def test_text_that_is_not_json_is_refused_by_the_database_or_excludes_the_entity(engine):
    spoil = text("UPDATE opt_versions SET supported_configs = 'a, b' WHERE version_id = 5")
    if engine.dialect.name == "sqlite":
        with transaction(engine) as connection:
            connection.execute(spoil)
        assert "supported_configs='a, b'" in read_definitions(engine)[1][0].reason
    else:
        with pytest.raises(DBAPIError, match="supported_configs"), transaction(engine) as connection:
            connection.execute(spoil)


def test_an_unknown_entity_is_answered_with_the_known_ones(engine):
    with pytest.raises(ConfigError, match=r"'drugs' is not in opt_entities; known are drugs_com, drugs_hcp"):
        read_definition(engine, "drugs")


def test_an_inactive_entity_is_not_read_for_a_run(engine):
    insert_entity(engine, 3, "asleep", status="I")
    with pytest.raises(ConfigError, match="asleep is inactive; set"):
        read_definition(engine, "asleep")


def test_an_inactive_macro_is_not_a_candidate(engine):
    with transaction(engine) as connection:
        connection.execute(
            update(tables.feature_macros).where(tables.feature_macros.c.macro_id == 1).values(status="I")
        )
    names = [macro.feature_name for macro in read_definition(engine, "drugs_hcp").feature_macros]
    assert names == ["geo_region_name", "os_code"]


def test_of_two_active_entities_with_one_object_id_the_later_one_is_refused(engine):
    insert_entity(engine, 3, "twin", object_id=1334)
    definitions, broken = read_definitions(engine)
    assert "drugs_hcp" in [definition.entity.entity_code for definition in definitions]
    assert [entity.entity_code for entity in broken] == ["twin"]
    assert "object_id=1334 is that of the active entity drugs_hcp" in broken[0].reason
    with pytest.raises(ConfigError, match=r"entity twin cannot be used: .*set its status to 'I'"):
        read_definition(engine, "twin")
    with transaction(engine) as connection:
        connection.execute(update(tables.entities).where(tables.entities.c.entity_id == 1).values(status="I"))
    assert read_definition(engine, "twin").entity.object_id == 1334


def test_the_number_of_queries_does_not_grow_with_the_entities(engine):
    with transaction(engine) as connection:
        connection.execute(insert(tables.entities), [entity_row(10 + n, f"client_{n}") for n in range(200)])
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    assert len(read_definitions(engine)[0]) == 202
    assert sum("opt_" in statement for statement in statements) == 5


SPOILT_BY_SQLITE = [
    ("UPDATE opt_entities SET object_id = 'abc' WHERE entity_id = 3", "opt_entities row 3: object_id='abc' cannot be"),
    ("UPDATE opt_entities SET created_at = 'soon' WHERE entity_id = 3", None),
    ("INSERT INTO opt_entity_configs (entity_id, config_key, config_value) VALUES (3, 'a', x'ff')", "opt_entity_confi"),
    ("UPDATE opt_version_configs SET is_required = 'abc' WHERE version_id = 3", "is_required='abc' cannot be used"),
]


@pytest.mark.parametrize(("statement", "reason"), SPOILT_BY_SQLITE)
def test_what_sqlite_lets_into_a_column_sets_one_entity_aside_at_most(tmp_path, statement, reason):
    engine = open_engine(f"sqlite:///{tmp_path}/control.db")
    migrate(engine)
    fill_catalog(engine)
    insert_entity(engine, 3, "third", current_version_id=3)
    with transaction(engine) as connection:
        connection.execute(text(statement))
    definitions, broken = read_definitions(engine)
    assert [d.entity.entity_code for d in definitions][:2] == ["drugs_com", "drugs_hcp"]
    assert [entity.entity_code for entity in broken] == (["third"] if reason else [])
    assert not reason or (reason in broken[0].reason and "correct it" in broken[0].reason)


def test_feature_names_are_read_in_lower_case_however_people_wrote_them(engine):
    with transaction(engine) as connection:
        of_os_code = update(tables.feature_macros).where(tables.feature_macros.c.macro_id == 3)
        connection.execute(of_os_code.values(feature_name="OS_Code"))
    names = [macro.feature_name for macro in read_definition(engine, "drugs_hcp").feature_macros]
    assert names == ["internal_adspace_id", "geo_region_name", "os_code"]


@pytest.mark.parametrize("second", [("os_code", "google"), ("OS_CODE", "adx")])
def test_two_active_macros_of_one_feature_set_the_entities_of_their_optimizer_aside(engine, second):
    row = {"macro_id": 9, "opt_id": 1, "macro_template": "%%OS%%"}
    other = {"opt_id": 2, "opt_code": "other", "opt_name": "Other"}
    with transaction(engine) as connection:
        connection.execute(insert(tables.feature_macros).values(**row, feature_name=second[0], macro_format=second[1]))
        connection.execute(insert(tables.optimizers).values(**other))
    insert_entity(engine, 3, "elsewhere", opt_id=2)
    definitions, broken = read_definitions(engine)
    assert [d.entity.entity_code for d in definitions] == ["elsewhere"]
    assert [entity.entity_code for entity in broken] == ["drugs_com", "drugs_hcp"]
    for part in ("feature os_code", "macro_id 3 (adx, [ADX_USER_OS])", f"macro_id 9 ({second[1]}, %%OS%%)", "to 'I'"):
        assert part in broken[0].reason
    with transaction(engine) as connection:
        connection.execute(
            update(tables.feature_macros).where(tables.feature_macros.c.macro_id == 3).values(status="I")
        )
    assert read_definitions(engine)[1] == []


@pytest.mark.parametrize(
    "path",
    [
        "s3://tn-optimizer-data/optimizer/drugs_hcp/",
        "s3://tn-optimizer-data/optimizer/drugs_hcp",
        "s3://tn-optimizer-data/optimizer/drugs_hcp/runs/today/",
        "s3://tn-optimizer-data/optimizer",
    ],
)
def test_the_later_entity_of_two_that_share_or_nest_a_prefix_is_set_aside(engine, path):
    insert_entity(engine, 3, "a_newcomer", s3_base_path=path)
    insert_entity(engine, 4, "neighbour", s3_base_path="s3://tn-optimizer-data/optimizer/drugs_hcp_2/")
    definitions, (broken,) = read_definitions(engine)
    assert [d.entity.entity_code for d in definitions] == ["drugs_com", "drugs_hcp", "neighbour"]
    assert broken.entity_code == "a_newcomer"
    for part in (f"s3_base_path={path!r}", "of entity drugs_hcp (entity_id 1)", "give it a prefix of its own"):
        assert part in broken.reason
    with pytest.raises(ConfigError) as refusal:
        read_definition(engine, "a_newcomer")
    assert broken.reason in str(refusal.value)
    assert read_definition(engine, "drugs_hcp") in definitions


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [("0 0 31 2 *", "never fires"), ("0 6 * * * *", "has 6 fields"), ("now and then", "has 3 fields")],
)
def test_an_entity_with_a_wrong_schedule_has_no_dag_and_can_be_corrected(engine, schedule, reason):
    with transaction(engine) as connection:
        row = {"entity_id": 1, "config_key": "schedule", "config_value": schedule, "updated_by": "ui"}
        connection.execute(insert(tables.entity_configs).values(**row))
    definitions, (broken,) = read_definitions(engine)
    assert "drugs_hcp" not in [definition.entity.entity_code for definition in definitions]
    assert broken.entity_code == "drugs_hcp" and f"schedule={schedule!r} {reason}" in broken.reason
    assert "`optimizer configure drugs_hcp schedule=" in broken.reason
    assert read_definition(engine, "drugs_hcp").schedule == schedule
