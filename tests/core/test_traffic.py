import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.serving.traffic import SLOTS, TrafficSplit

IDS = [f"user-{number}" for number in range(20_000)]


def split(**percents: int) -> TrafficSplit:
    return TrafficSplit.create(percents, entity_code="drugs_hcp")


def moved(one: TrafficSplit, other: TrafficSplit) -> float:
    return sum(one.run_of(identity) != other.run_of(identity) for identity in IDS) / len(IDS)


@pytest.mark.parametrize("percents", [{"a": 80, "b": 20}, {"a": 1, "b": 99}, {"a": 33, "b": 33, "c": 34}])
def test_every_run_owns_exactly_its_percents_of_the_slots(percents):
    made = split(**percents)
    starts = (0, *made.ends)
    assert {run: end - start for run, start, end in zip(made.run_ids, starts, made.ends, strict=False)} == {
        run: percent * SLOTS // 100 for run, percent in percents.items()
    }
    assert made.ends[-1] == SLOTS


@given(st.text(st.characters()))
def test_every_id_has_a_run_however_it_is_written(identity):
    assert split(a=50, b=50).run_of(identity) in ("a", "b")


def test_a_changed_percent_moves_no_more_users_than_it_must():
    assert moved(split(a=80, b=20), split(a=70, b=30)) == pytest.approx(0.10, abs=0.01)
    assert moved(split(a=80, b=20), split(a=80, c=20)) == pytest.approx(0.20, abs=0.01)


def test_a_run_that_moves_to_another_stretch_of_slots_leaves_its_users_behind():
    assert moved(split(a=80, b=20), split(b=80, c=20)) == 1.0


def test_the_order_in_which_a_split_is_given_and_runs_without_traffic_do_not_matter():
    assert split(b=20, a=80, c=0) == split(a=80, b=20)


def test_entities_are_hashed_apart():
    other = TrafficSplit.create({"a": 80, "b": 20}, entity_code="drugs_com")
    assert moved(split(a=80, b=20), other) == pytest.approx(2 * 0.8 * 0.2, abs=0.02)


def test_another_process_gives_every_id_to_the_same_run():
    code = (
        "from optimizer.core.serving.traffic import TrafficSplit;"
        "split = TrafficSplit.create({'a': 80, 'b': 20}, entity_code='drugs_hcp');"
        "print(''.join(split.run_of(f'user-{number}') for number in range(1000)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "".join(split(a=80, b=20).run_of(identity) for identity in IDS[:1000])


@pytest.mark.parametrize("percents", [{}, {"a": 80}, {"a": 120, "b": -20}])
def test_percents_that_are_no_whole_split_are_refused(percents):
    with pytest.raises(ValueError, match=r"drugs_hcp: .* is not a traffic split; give percents"):
        split(**percents)


@pytest.mark.parametrize(
    ("identity", "slot"),
    [("u-17", 837), ("8c1f6a3e-7b1c-4d0f-9e7e-2b7f2f9d1a55", 3163), ("", 888), ("Zoë 🐑", 4144)],
)
def test_the_slot_is_the_first_eight_bytes_of_a_sha256_that_any_language_computes(identity, slot):
    """The numbers come from `printf 'drugs_hcp|u-17' | sha256sum | cut -c1-16`, read as one number, modulo 10,000."""
    runs = {f"{number:02}": 1 for number in range(100)}
    assert split(**runs).run_of(identity) == f"{slot // 100:02}"
