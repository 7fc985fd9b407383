"""The section `identification` of metrics.json."""

import json
from datetime import date

from core.noted_figures import bid_figures

from optimizer.core.landscape.jitter import RandomnessTest, Variation
from optimizer.core.landscape.slope import Slope
from optimizer.core.records.variation import VariationRecord
from optimizer.reporting.learning import learning_sentence
from optimizer.runs.identification import identification_figures

FIGURES = {"is_learning": True, "expected_win_rate": 0.3, "jitter_spread": 0.06}
FAILED = RandomnessTest("serial_correlation", 0.41, "<=", 0.15, False)


def figures_of(variation: Variation, **changes: bool) -> dict[str, float | None]:
    found = identification_figures(
        VariationRecord.of(variation),
        figures=bid_figures(**FIGURES | changes),
        bids_per_day=5000.0,
        today=date(2026, 2, 6),
    )
    assert all(value is None or type(value) is float for value in found.values())
    return json.loads(json.dumps(found, allow_nan=False))


def test_a_first_run_learns_from_its_own_day_on():
    found = figures_of(Variation("none", None, 0, 0.0, 9e4, ("os_code",), (FAILED,)))
    assert (found["is_learning"], found["source_is_own"], found["source_is_logged"]) == (1, 0, 0)
    assert found["learning_since"] == 20260206 and 2 < found["learning_days_left"] < 3
    assert [found[f"serial_correlation{end}"] for end in ("", "_limit", "_passed")] == [0.41, 0.15, 0]
    sentence = learning_sentence({"identification": found})
    assert "since 2026-02-06" in sentence and "the test serial_correlation" in sentence and "about 2 days" in sentence


def test_learning_goes_on_since_the_first_day_of_own_jitter():
    found = figures_of(Variation("none", Slope(2.0, 1.0, False), 4, 2e4, own_since="2026-02-02"))
    assert (found["learning_since"], found["learning_days_left"]) == (20260202, 12)


def test_an_error_that_is_not_known_is_null():
    found = figures_of(Variation("none", Slope(2.0, float("inf"), False), 1, 10.0, own_since="2026-02-05"))
    assert (found["slope"], found["slope_error"]) == (2.0, None)


def test_a_run_that_knows_the_slope_does_not_learn():
    found = figures_of(Variation("own", Slope(2.0, 0.3, True), 9, 5e4, own_since="2026-01-28"), is_learning=False)
    assert (found["is_learning"], found["learning_since"], found["learning_days_left"]) == (0, None, 0)
    assert found["source_is_own"] == 1 and learning_sentence({"identification": found}) is None
