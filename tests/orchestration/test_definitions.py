import logging

import pytest
from orchestration.definitions import define

from optimizer.control_plane.records import BrokenEntity
from optimizer.errors import UnavailableError
from optimizer.orchestration.definitions import LoadedEntities, load_definitions, read_last_good
from optimizer.orchestration.entity_problems import EntityProblems, raise_problems, write_problems

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
    assert load_definitions(lambda: (good, []), path=path) == LoadedEntities(good)
    assert read_last_good(path) == good


def test_a_silent_control_plane_leaves_every_entity(path, caplog):
    good = [define("drugs_com"), define("drugs_hcp")]
    load_definitions(lambda: (good, []), path=path)
    assert load_definitions(silent, path=path).definitions == good
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
    assert load_definitions(fail, path=path).definitions == [define()]
    assert f"{type(error).__name__}: {error}" in caplog.text


def test_a_broken_row_keeps_its_last_good_definition_and_is_reported(path, caplog):
    before = [define("drugs_com"), define("drugs_hcp", target_win_rate="0.4")]
    load_definitions(lambda: (before, []), path=path)
    with caplog.at_level(logging.ERROR):
        assert load_definitions(lambda: ([define("drugs_com")], [BROKEN]), path=path).definitions == before
    assert "entity drugs_hcp is invalid, its last good definition stays" in caplog.text
    assert "s3_base_path='ftp://'" in caplog.text


def test_a_row_that_was_never_good_is_left_out(path):
    assert load_definitions(lambda: ([define("drugs_com")], [BROKEN]), path=path).definitions == [define("drugs_com")]


def test_an_entity_that_was_removed_is_gone(path):
    load_definitions(lambda: ([define("drugs_com"), define("drugs_hcp")], []), path=path)
    assert load_definitions(lambda: ([define("drugs_com")], []), path=path).definitions == [define("drugs_com")]
    assert read_last_good(path) == [define("drugs_com")]


def test_an_unreadable_snapshot_is_written_again(path):
    path.parent.mkdir()
    path.write_text("half a sna")
    assert load_definitions(lambda: ([define()], []), path=path).definitions == [define()]
    assert read_last_good(path) == [define()]


def test_the_snapshot_is_written_only_when_something_changed(path):
    load_definitions(lambda: ([define()], []), path=path)
    written = path.stat().st_mtime_ns
    load_definitions(lambda: ([define()], []), path=path)
    assert path.stat().st_mtime_ns == written
    assert [file.name for file in path.parent.iterdir()] == ["entities.json"]


FLEET = [define(f"client_{number}") for number in range(6)]


@pytest.mark.parametrize("left", [0, 2, 3])
def test_when_all_or_half_of_the_entities_are_gone_at_once_every_one_stays(path, caplog, left):
    load_definitions(lambda: (FLEET, []), path=path)
    loaded = load_definitions(lambda: (FLEET[:left], []), path=path)
    assert loaded.definitions == read_last_good(path) == FLEET
    (problem,) = loaded.problems
    gone = f"opt_entities has {left} rows, {6 - left} of 6 entities are gone at once (client_{left}, "
    assert gone in problem and problem.endswith(f"or confirm with `optimizer confirm-entities {left}`")
    assert problem in caplog.text


@pytest.mark.parametrize("left", [0, 2])
def test_a_confirmed_number_of_entities_is_believed_and_no_other(path, left):
    load_definitions(lambda: (FLEET, []), path=path)
    other = load_definitions(lambda: (FLEET[:left], []), path=path, confirmed_count=lambda: left + 1)
    assert other.definitions == FLEET
    loaded = load_definitions(lambda: (FLEET[:left], []), path=path, confirmed_count=lambda: left)
    assert loaded == LoadedEntities(FLEET[:left])


def test_entities_that_are_broken_or_inactive_are_not_gone(path):
    load_definitions(lambda: (FLEET, []), path=path)
    inactive = [define(one.entity.entity_code, status="I") for one in FLEET]
    assert load_definitions(lambda: (inactive, []), path=path) == LoadedEntities(inactive)
    broken = [BROKEN.model_copy(update={"entity_code": one.entity.entity_code}) for one in FLEET]
    loaded = load_definitions(lambda: ([], broken), path=path)
    assert loaded.definitions == inactive and len(loaded.problems) == len(FLEET)


def test_fewer_than_half_may_go(path):
    load_definitions(lambda: (FLEET, []), path=path)
    assert load_definitions(lambda: (FLEET[2:], []), path=path) == LoadedEntities(FLEET[2:])


def test_the_snapshot_gives_one_entity_of_many(path):
    load_definitions(lambda: (FLEET, []), path=path)
    assert read_last_good(path, only="client_3") == [FLEET[3]]
    assert read_last_good(path, only="client_9") == []


def test_what_the_entities_share_is_in_the_snapshot_once(path):
    load_definitions(lambda: (FLEET[:1], []), path=path)
    one = path.stat().st_size
    load_definitions(lambda: (FLEET, []), path=path)
    assert path.stat().st_size < 1.3 * one


def test_the_problems_are_raised_until_a_parse_finds_none(path):
    raise_problems(path)
    load_definitions(lambda: (FLEET, []), path=path)
    write_problems(path, load_definitions(silent, path=path).problems)
    with pytest.raises(EntityProblems, match=r"last good snapshot .* does not answer"):
        raise_problems(path)
    write_problems(path, load_definitions(lambda: (FLEET, []), path=path).problems)
    raise_problems(path)
