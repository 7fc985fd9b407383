import pytest

from optimizer.core.checks.outcome import Check, going_live, judge, outcome_text


def check(figure, severity="hard", relation="<=", limit=0.08):
    return Check("calibration_error", severity, figure, relation, limit, "win rates differ", "look for a market change")


def test_a_hard_check_that_fails_fails_the_run_with_figure_limit_problem_and_next_step():
    verdict = judge([check(0.05), check(0.12)])
    assert not verdict.is_passed and verdict.outcome == "failed"
    message = "calibration_error is 0.12, must be at most 0.08: win rates differ; look for a market change"
    assert verdict.failures == [message]


def test_a_soft_check_that_fails_only_warns():
    verdict = judge([check(0.12, severity="soft")])
    assert verdict.is_passed and len(verdict.warnings) == 1 and not verdict.failures and not verdict.holds
    assert verdict.outcome == "passed with 1 warning"


def test_a_check_that_holds_leaves_the_run_passed_and_is_named_first():
    verdict = judge([check(0.12, severity="soft"), check(0.2, severity="hold"), check(0.01, severity="hold")])
    assert verdict.is_passed and verdict.outcome == "passed with 2 warnings"
    assert verdict.holds == ["calibration_error"]
    assert verdict.warnings[0].startswith("calibration_error is 0.2")


def test_a_figure_that_is_not_a_number_never_passes():
    assert not check(float("nan")).is_passed
    assert not check(float("nan"), relation=">=").is_passed


@pytest.mark.parametrize(
    ("status", "warnings", "text"),
    [
        (None, None, None),
        ("passed", None, "passed"),
        ("passed", 0, "passed"),
        ("passed", 1, "passed with 1 warning"),
        ("passed", 3, "passed with 3 warnings"),
        ("failed", 2, "failed"),
    ],
)
def test_the_outcome_counts_warnings_of_runs_that_passed(status, warnings, text):
    assert outcome_text(status, warnings) == text


@pytest.mark.parametrize(
    ("status", "warnings", "holds", "part"),
    [
        ("passed", 0, [], "The run can go live."),
        ("passed", 1, [], "The run can go live; read its warnings."),
        (
            "passed",
            2,
            ["expected_win_rate"],
            "does not go live automatically (expected_win_rate); it can still be approved",
        ),
        ("passed", 2, None, "a warning that holds keeps it from going live automatically"),
        ("failed", 0, [], "can never go live"),
        (None, None, None, "was not validated"),
    ],
)
def test_each_outcome_says_what_it_means_for_going_live(status, warnings, holds, part):
    assert part in going_live(status, warnings, holds=holds)
