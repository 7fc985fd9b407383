from optimizer.core.validation import Check, judge


def check(figure, severity="hard", relation="<=", limit=0.08):
    return Check("calibration_error", severity, figure, relation, limit, "look for a market change")


def test_a_hard_check_that_fails_fails_the_run_with_figure_limit_and_next_step():
    verdict = judge([check(0.05), check(0.12)])
    assert not verdict.is_passed
    assert verdict.failures == ["calibration_error: 0.12 <= 0.08 failed; look for a market change"]


def test_a_soft_check_that_fails_only_warns():
    verdict = judge([check(0.12, severity="soft")])
    assert verdict.is_passed and len(verdict.warnings) == 1 and not verdict.failures


def test_a_figure_that_is_no_number_never_passes():
    assert not check(float("nan")).is_passed
    assert not check(float("nan"), relation=">=").is_passed
