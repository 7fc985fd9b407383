import logging

import pytest
from orchestration.definitions import define

from optimizer.control_plane.records import BrokenEntity
from optimizer.errors import UnavailableError
from optimizer.orchestration.definitions import load_definitions, read_last_good

BROKEN = BrokenEntity(
    entity_code="drugs_hcp", reason="opt_entities.s3_base_path='ftp://' must be of the form s3://bucket/prefix/"
)


def silent():
    raise UnavailableError("control plane does not answer")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "entities.json"


def test_what_was_read_is_the_next_last_good_snapshot(path):
    good = [define("drugs_com"), define("drugs_hcp")]
    assert load_definitions(lambda: (good, []), path=path) == good
    assert read_last_good(path) == good


def test_a_silent_control_plane_leaves_every_entity(path, caplog):
    good = [define("drugs_com"), define("drugs_hcp")]
    load_definitions(lambda: (good, []), path=path)
    assert load_definitions(silent, path=path) == good
    assert "last good snapshot" in caplog.text and "does not answer" in caplog.text


def test_a_silent_control_plane_without_a_snapshot_is_an_error_and_not_no_entities(path):
    with pytest.raises(UnavailableError, match="does not answer"):
        load_definitions(silent, path=path)


@pytest.mark.parametrize("error", [KeyError("no such connection"), OSError("the secrets backend is away")])
def test_any_error_while_reading_the_entities_leaves_every_entity(path, caplog, error):
    def fail():
        raise error

    with pytest.raises(type(error)):
        load_definitions(fail, path=path)
    load_definitions(lambda: ([define()], []), path=path)
    assert load_definitions(fail, path=path) == [define()]
    assert f"{type(error).__name__}: {error}" in caplog.text


def test_a_broken_row_keeps_its_last_good_definition_and_is_reported(path, caplog):
    before = [define("drugs_com"), define("drugs_hcp", target_win_rate="0.4")]
    load_definitions(lambda: (before, []), path=path)
    with caplog.at_level(logging.ERROR):
        assert load_definitions(lambda: ([define("drugs_com")], [BROKEN]), path=path) == before
    assert "entity drugs_hcp is invalid, its last good definition stays" in caplog.text
    assert "s3_base_path='ftp://'" in caplog.text


def test_a_row_that_was_never_good_is_left_out(path):
    assert load_definitions(lambda: ([define("drugs_com")], [BROKEN]), path=path) == [define("drugs_com")]


def test_an_entity_that_was_removed_is_gone(path):
    load_definitions(lambda: ([define("drugs_com"), define("drugs_hcp")], []), path=path)
    assert load_definitions(lambda: ([define("drugs_com")], []), path=path) == [define("drugs_com")]
    assert read_last_good(path) == [define("drugs_com")]


def test_an_unreadable_snapshot_is_written_again(path):
    path.parent.mkdir()
    path.write_text("half a sna")
    assert load_definitions(lambda: ([define()], []), path=path) == [define()]
    assert read_last_good(path) == [define()]


def test_the_snapshot_is_written_only_when_something_changed(path):
    load_definitions(lambda: ([define()], []), path=path)
    written = path.stat().st_mtime_ns
    load_definitions(lambda: ([define()], []), path=path)
    assert path.stat().st_mtime_ns == written
    assert [file.name for file in path.parent.iterdir()] == ["entities.json"]
