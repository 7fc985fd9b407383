"""A forecast in words: every figure with its interval."""

from optimizer.reporting.forecast import forecast_of, forecast_sentence

FIGURES = {
    "expected_win_rate": 0.312,
    "expected_win_rate_low": 0.287,
    "expected_win_rate_high": 0.338,
    "expected_win_rate_low_80": 0.296,
    "expected_win_rate_high_80": 0.329,
    "expected_cpm": 14.2,
    "expected_cpm_low": 13.9,
    "expected_cpm_high": 14.6,
    "expected_spend_per_day": 21.4,
}


def plain(text: str | None) -> str:
    assert text is not None
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_every_figure_has_its_interval_and_the_confidence_is_said_once():
    assert plain(forecast_sentence(FIGURES)) == (
        "Forecast of the next days, with 95 % intervals: win rate 31.2 % (28.7 % to 33.8 %), "
        "CPM 14.20 (13.90 to 14.60), spend a day 21.40"
    )


def test_a_run_of_an_older_version_has_a_forecast_without_intervals():
    figures = forecast_of({"bidding": {"expected_win_rate": 0.3, "expected_margin": None, "jitter_sd": 0.1}})
    assert figures == {"expected_win_rate": 0.3}
    assert plain(forecast_sentence(figures)) == "Forecast of the next days: win rate 30.0 %"


def test_a_run_without_figures_has_no_forecast():
    assert forecast_of({}) == {} and forecast_sentence({}) is None


def test_the_forecast_section_comes_before_the_figures_of_bidding():
    assert forecast_of({"forecast": FIGURES, "bidding": {"expected_cpm": 1.0}}) == FIGURES
