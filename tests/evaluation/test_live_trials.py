"""The live side's lines of the table: they are met, and a guard or an interval that is wrong misses them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from lab.evaluation import __main__ as command
from lab.evaluation.live_trials import LIVE_NAMES, try_live_worlds
from lab.evaluation.table import lines_of
from optimizer.core.live import spend_guard, split_check

EXPECTED = {
    "live: against the forecast": {
        *{"good_blamed", "borderline_blamed", "bad_found", "bad_found_day", "bad_found_later"},
    },
    "live: against the control": {
        *{"good_blamed", "borderline_blamed", "bad_found", "bad_found_day", "bad_found_later"},
    },
    "live: savings": {"savings_covered"},
    "live: spend guard": {"honest_taken_off", "overspend_found"},
    "live: split check": {"honest_alarmed", "mismatch_found"},
}


def missed(name: str) -> set[str]:
    return {line.reached.goal.figure for line in lines_of(try_live_worlds(name, 1)) if not line.reached.is_met}


@pytest.mark.parametrize("name", LIVE_NAMES)
def test_every_line_of_the_live_side_is_judged_and_met(name: str):
    lines = lines_of(try_live_worlds(name, 1))
    assert {line.reached.goal.figure for line in lines} == EXPECTED[name]
    assert missed(name) == set()


def test_intervals_that_are_read_once_miss_the_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lab.evaluation.live_trials.reach", lambda days: 2.2)
    assert {"borderline_blamed"} <= missed("live: against the forecast")
    assert missed("live: savings") == {"savings_covered"}


def test_a_spend_guard_or_a_split_check_without_room_for_chance_misses_the_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spend_guard, "Z", -2.0)
    assert missed("live: spend guard") == {"honest_taken_off"}
    monkeypatch.setattr(split_check, "BIDS_PER_ID", 0.1)
    monkeypatch.setattr(split_check, "LEAST_DEVIATION", 0.001)
    assert missed("live: split check") == {"honest_alarmed"}


def test_the_command_prints_the_lines_of_the_live_side_alone(monkeypatch: pytest.MonkeyPatch):
    # A fresh process would import for seconds; tests/evaluation/test_saved.py has its jobs run in one.
    monkeypatch.setattr(command, "ProcessPoolExecutor", lambda processes, **_: ThreadPoolExecutor(processes))
    found = CliRunner().invoke(command.app, ["--family", "live", "--seeds", "1", "--jobs", "1"])
    assert found.exit_code == 0, found.output
    assert "15 of 15 lines are met" in found.output and "live: split check" in found.output
    assert "steady" not in found.output
