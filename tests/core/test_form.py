"""A trigger form that was opened before the config changed does not bring old values back."""

import pytest

from optimizer.core.config.form import check_form, config_stamp
from optimizer.core.config.settings import config_catalogue
from optimizer.errors import ConfigError

KEYS = config_catalogue()


def check(stamp, values, entity_values):
    check_form(stamp, values, keys=KEYS, entity_values=entity_values, entity_code="drugs_hcp")


def test_a_form_of_the_present_config_may_say_anything():
    check(config_stamp(KEYS, {"promotion": "approval"}), {"promotion": "auto"}, {"promotion": "approval"})


def test_an_old_form_that_says_what_the_config_says_now_passes():
    check(config_stamp(KEYS, {}), {"promotion": "approval", "max_features": 4}, {"promotion": "approval"})


def test_an_old_form_that_would_undo_a_change_is_refused_with_both_values():
    with pytest.raises(ConfigError) as refusal:
        check(config_stamp(KEYS, {}), {"promotion": "auto", "max_features": 4}, {"promotion": "approval"})
    assert "promotion: 'auto' in the form, 'approval' now" in str(refusal.value)
    assert "max_features" not in str(refusal.value) and "open the form again" in str(refusal.value)


def test_a_number_of_an_old_form_is_compared_as_a_number_whether_it_was_typed_or_not():
    check(config_stamp(KEYS, {}), {"target_margin": "0.20"}, {"target_margin": "0.2"})


def test_values_that_come_from_no_form_are_taken():
    check(None, {"promotion": "auto"}, {"promotion": "approval"})


def test_a_key_that_the_form_does_not_show_changes_no_stamp():
    assert config_stamp(KEYS, {"schedule": "0 7 * * *"}) == config_stamp(KEYS, {})
    assert config_stamp(KEYS, {"target_margin": "0.2"}) != config_stamp(KEYS, {})
