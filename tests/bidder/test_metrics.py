"""Metrics of one bidder and of several workers together."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from optimizer.bidder.metrics import METRICS, PREFIX, Measures, make_registry
from optimizer.bidder.reasons import UNREADABLE, Reason
from optimizer.bidder.tally import NO_ENTITY, NO_RUN, Tally
from optimizer.bidder.worker_reports import LATE, WorkerReports

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)


def tally_of(**outcomes: int) -> Tally:
    tally = Tally()
    for outcome, number in outcomes.items():
        tally.outcomes["a", "run", outcome] += number
    return tally


def exported(measures: Measures) -> dict[tuple[str, ...], float]:
    """Return the value of every sample that a scrape finds, by its name and the values of its labels."""
    text = generate_latest(make_registry(lambda: measures)).decode()
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prices_are_of_all_runs_and_unknown_entities_share_one_label():
    tally = tally_of(segment=3)
    tally.outcomes["a", "other run", Reason.SEGMENT] += 2
    tally.outcomes[NO_ENTITY, NO_RUN, Reason.NOT_SERVED] += 4
    tally.outcomes["a", NO_RUN, UNREADABLE] += 1
    found = exported(Measures.of(tally, {}))
    assert found["prices_total", "a", "segment"] == 5
    assert found["prices_total", "unknown", "not_served"] == 4
    assert found["unreadable_requests_total", "a"] == 1
    assert tally.served_outcomes().keys() == tally.outcomes.keys() - {(NO_ENTITY, NO_RUN, Reason.NOT_SERVED)}


def test_a_metric_without_labels_is_exported_before_it_is_first_counted():
    found = exported(Measures.of(Tally(), {}))
    assert found["count_write_failures_total",] == found["local_copy_errors",] == found["price_seconds_count",] == 0
    assert not any(key[0] == "prices_total" for key in found)


@pytest.mark.parametrize(("seconds", "bucket"), [(1e-5, "1e-05"), (1.1e-5, "2e-05"), (0.1, "0.1"), (7.0, "+Inf")])
def test_a_duration_is_in_the_bucket_of_the_first_bound_that_it_does_not_exceed(seconds, bucket):
    tally = Tally()
    tally.price_seconds.add(seconds)
    found = {key: value for key, value in exported(Measures.of(tally, {})).items() if key[0] == "price_seconds_bucket"}
    assert next(key[1] for key, value in found.items() if value == 1) == bucket


def test_of_several_processes_counters_are_summed_and_the_worst_gauge_counts():
    parts = [
        Measures.of(
            tally_of(segment=number), {("loaded_timestamp_seconds", "a"): at, ("served_from_copy", "a"): copied}
        )
        for number, at, copied in ((1, 20.0, 0), (2, 10.0, 1))
    ]
    for part in parts:
        part.durations["price_seconds"].add(0.25)
    found = exported(Measures.combine(parts))
    assert found["prices_total", "a", "segment"] == 3
    assert (found["loaded_timestamp_seconds", "a"], found["served_from_copy", "a"]) == (10.0, 1.0)
    assert (found["price_seconds_count",], found["price_seconds_sum",]) == (2, 0.5)


def test_a_worker_that_takes_the_place_of_another_goes_on_with_its_counters(tmp_path):
    reports_of(tmp_path, worker=1, tally=tally_of(segment=5)).publish()
    reports_of(tmp_path, worker=2, tally=tally_of(segment=1)).publish()
    successor = reports_of(tmp_path, worker=1, tally=tally_of(segment=2))
    assert exported(successor.measure_all())["prices_total", "a", "segment"] == 5 + 2 + 1


def test_a_worker_that_does_not_report_any_more_keeps_its_counters_and_loses_its_gauges(tmp_path):
    reports_of(tmp_path, worker=1, tally=tally_of(segment=5)).publish()
    later = reports_of(tmp_path, worker=2, tally=Tally(), now=NOON + LATE + timedelta(seconds=1))
    found = exported(later.measure_all())
    assert (found["prices_total", "a", "segment"], found["workers",]) == (5, 1)


def test_workers_of_different_generations_are_mixed(tmp_path):
    reports_of(tmp_path, worker=1, tally=Tally(), generation="old").publish()
    newer = reports_of(tmp_path, worker=2, tally=Tally(), generation="new")
    assert newer.describe_all()["is_mixed"]
    assert exported(newer.measure_all())["generations", "a"] == 2
    assert [it["generations"] for it in newer.describe_all()["workers"]] == [{"a": "old"}, {"a": "new"}]


def reports_of(folder, *, worker: int, tally: Tally, generation: str = "g", now: datetime = NOON) -> WorkerReports:
    health = {
        "status": "ok",
        "last_refresh": None,
        "last_success_at": None,
        "entities": {"a": {"generation": generation}},
    }
    gauges = {("workers",): 1, ("generations", "a"): 1}
    return WorkerReports(
        folder,
        worker=worker,
        health=lambda: health,
        measure=lambda: Measures.of(tally, gauges),
        clock=lambda: now,
    )


def test_every_metric_without_a_rule_of_its_own_is_a_sum():
    assert {name for name, it in METRICS.items() if it.combine is sum and it.kind == "gauge"} == {"workers"}
