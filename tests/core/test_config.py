import re
from datetime import UTC, datetime

import pytest

from optimizer.core.config.merge import ConfigKey, merge_config, parse_value
from optimizer.core.config.settings import RunSettings, config_catalogue
from optimizer.core.records.config_snapshot import ConfigSnapshot, RunInputs
from optimizer.errors import ConfigError


def key(name="target_win_rate", data_type="float", section="business", **fields) -> ConfigKey:
    return ConfigKey(config_key=name, config_section=section, display_name=name, data_type=data_type, **fields)


RATE = key(default_value="0.30", min_value="0.01", max_value="0.99")
CAP = key("max_bid_cpm", section="technical", default_value="30", min_value="0.01")
FLOORS = key("floor_available", "bool", "static", default_value="false")
INPUTS = RunInputs(
    entity_code="drugs_hcp",
    object_id=1334,
    version_code="v5",
    active_run_id=None,
    recent_bids_per_day=(1000.0,),
    data_start_dt=datetime(2026, 1, 5, tzinfo=UTC),
    data_end_dt=datetime(2026, 2, 4, tzinfo=UTC),
    feature_macros=(),
)
SCOPE = key("scope", "str", allowed_values=("portfolio", "segment"), default_value="portfolio")


def merge(*keys, entity=None, run=None, **options):
    return merge_config(keys, entity_code="drugs_hcp", entity_values=entity or {}, run_values=run or {}, **options)


def test_a_run_value_wins_over_the_entity_and_the_entity_over_the_default():
    config = merge(
        RATE, CAP, FLOORS, entity={"target_win_rate": "0.4", "max_bid_cpm": "25"}, run={"target_win_rate": "0.65"}
    )
    assert config.values == {"target_win_rate": 0.65, "max_bid_cpm": 25.0, "floor_available": False}
    assert config.sources == {"target_win_rate": "run", "max_bid_cpm": "entity", "floor_available": "default"}


def test_a_run_value_that_equals_the_entitys_is_not_an_override():
    config = merge(RATE, entity={"target_win_rate": "0.4"}, run={"target_win_rate": 0.4})
    assert config.sources["target_win_rate"] == "entity"


def test_all_problems_are_named_together_with_key_value_bound_and_next_step():
    required = key("schedule", "str", default_value=None)
    with pytest.raises(ConfigError) as caught:
        merge(RATE, CAP, required, entity={"max_bid_cpm": "much"}, run={"target_win_rate": "1.4", "colour": "red"})
    message = str(caught.value)
    assert message.startswith("entity drugs_hcp: ")
    for part in (
        "target_win_rate=1.4 is above its maximum 0.99; set it between 0.01 and 0.99 (run value)",
        "max_bid_cpm='much' is not a number; set it to 0.01 or more (entity value)",
        "colour='red' (run value) is not a key of this version",
        "schedule is required and has no value",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("raw", "hint"),
    [("0,4", "write 0.4; set"), ("0,400", "write 0.400; set"), ("1,500", "write 1.500 or 1500; set"), ("much", "set")],
)
def test_a_number_with_a_comma_is_refused_with_what_to_write(raw: str, hint: str):
    with pytest.raises(ConfigError, match=re.escape(f"max_bid_cpm={raw!r} is not a number; {hint} it to 0.01 or more")):
        merge(CAP, run={"max_bid_cpm": raw})


@pytest.mark.parametrize("raw", ["1_5", "٣٥"])
def test_a_number_that_only_python_reads_is_refused(raw: str):
    with pytest.raises(ConfigError, match=f"max_bid_cpm='{raw}' is not a number"):
        merge(CAP, run={"max_bid_cpm": raw})
    with pytest.raises(ConfigError, match=f"days='{raw}' is not an int"):
        merge(key("days", "int", default_value="1"), run={"days": raw})


def test_supported_configs_and_version_configs_must_agree():
    with pytest.raises(ConfigError, match="max_bid_cpm is in supported_configs but has no row") as caught:
        merge(RATE, FLOORS, supported_keys=["target_win_rate", "max_bid_cpm"])
    assert "floor_available has a row in opt_version_configs but is not in supported_configs" in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "raw", "value"),
    [
        (FLOORS, "TRUE", True),
        (FLOORS, "0", False),
        (FLOORS, True, True),
        (key("n", "int"), "12", 12),
        (key("n", "int"), 12.0, 12),
        (RATE, "0.01", 0.01),
        (SCOPE, " segment ", "segment"),
    ],
)
def test_text_of_the_tables_becomes_the_keys_type(spec, raw, value):
    parsed = parse_value(spec, raw)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("spec", "raw"),
    [(FLOORS, "maybe"), (key("n", "int"), "1.5"), (key("n", "int"), True), (RATE, "nan"), (RATE, "inf"), (RATE, True),
     (RATE, "0.009"), (SCOPE, "world"), (SCOPE, 3)],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_key(spec, raw):
    with pytest.raises(ConfigError, match=rf"^{spec.config_key}="):
        parse_value(spec, raw)


def test_a_run_is_reproduced_from_its_snapshot_alone():
    config = merge(*config_catalogue(), run={"target_win_rate": "0.65", "floor_available": "true"})
    snapshot = ConfigSnapshot.of(config, inputs=INPUTS).to_json()
    assert set(snapshot) == {"business", "technical", "static", "sources", "inputs"}
    assert snapshot["sources"]["target_win_rate"] == "run"
    assert snapshot["inputs"]["data_end_dt"] == "2026-02-04T00:00:00+00:00"
    known = ConfigSnapshot.model_validate(snapshot)
    assert known.inputs == INPUTS
    settings = known.settings
    assert (settings.target_win_rate, settings.floor_available, settings.max_bid_cpm) == (0.65, True, 30.0)


def test_every_setting_of_the_optimizer_is_a_key_whose_default_keeps_its_own_bounds():
    catalogue = config_catalogue()
    assert {spec.config_key for spec in catalogue} == set(RunSettings.model_fields)
    defaults = RunSettings()
    for spec in catalogue:
        own = getattr(defaults, spec.config_key)
        if spec.default_value is None:
            assert own is None and not spec.is_required
        else:
            assert parse_value(spec, spec.default_value) == own


def test_a_key_that_may_be_empty_keeps_its_type_and_bounds():
    spec = next(spec for spec in config_catalogue() if spec.config_key == "half_life_days")
    assert (spec.data_type, spec.is_required, spec.allowed_values) == ("float", False, None)
    assert merge(*config_catalogue()).values["half_life_days"] is None
    assert merge(*config_catalogue(), run={"half_life_days": 14}).values["half_life_days"] == 14.0
    with pytest.raises(ConfigError, match="below its minimum 1"):
        merge(*config_catalogue(), run={"half_life_days": 0.5})
