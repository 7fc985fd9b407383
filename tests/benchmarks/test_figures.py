import io

import pytest
from rich.console import Console

from lab.benchmarks.figures import Figure, best_seconds
from lab.benchmarks.printing import conclude


def figure(measured: float, *, bound: float | None) -> Figure:
    return Figure("what", measured, 2.0, "a yardstick", "s", bound)


@pytest.mark.parametrize(("measured", "bound", "is_kept"), [(6.0, 3.0, True), (6.1, 3.0, False), (600.0, None, True)])
def test_a_bound_is_kept_up_to_and_including_its_ratio(measured, bound, is_kept):
    assert figure(measured, bound=bound).is_kept is is_kept
    assert figure(measured, bound=bound).ratio == pytest.approx(measured / 2.0)


@pytest.mark.parametrize(("measured", "status", "verdict"), [(6.0, 0, "kept"), (7.0, 1, "missed")])
def test_the_status_is_one_where_a_bound_is_missed(measured, status, verdict):
    printed = io.StringIO()
    figures = [figure(measured, bound=3.0), figure(1.0, bound=3.0), figure(99.0, bound=None)]
    assert conclude(figures, console=Console(file=printed, width=150)) == status
    assert verdict in printed.getvalue()
    assert f"{2 - status} of 2 bounds are kept" in printed.getvalue()


def test_actions_take_turns_and_the_least_time_of_each_counts(monkeypatch):
    clock, calls = [0.0], []
    durations = {"a": iter([5.0, 2.0, 3.0]), "b": iter([1.0, 4.0, 0.5])}

    def act(name):
        calls.append(name)
        clock[0] += next(durations[name])

    monkeypatch.setattr("lab.benchmarks.figures.process_time", lambda: clock[0])
    best = best_seconds({"a": lambda: act("a"), "b": lambda: act("b")}, repeats=3)
    assert best == {"a": 2.0, "b": 0.5}
    assert calls == ["a", "b"] * 3


@pytest.mark.parametrize(("unit", "written"), [("s", "1,200 s"), ("MiB", "1,200 MiB"), ("statements", "1,200")])
def test_an_amount_has_its_unit_and_a_count_has_none(unit, written):
    printed = io.StringIO()
    conclude([Figure("what", 1200.0, 2.0, "a yardstick", unit)], console=Console(file=printed, width=150))
    assert f" {written} " in printed.getvalue()
