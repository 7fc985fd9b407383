"""Values as the pages write them."""

import pytest

from optimizer.console.formatting import as_sentence, coded, small_points


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("see `optimizer live ENTITY`", "see <code>optimizer live ENTITY</code>"),
        ("<b> and `<i>`", "&lt;b&gt; and <code>&lt;i&gt;</code>"),
        ("nothing", "nothing"),
        ("", ""),
        (None, ""),
    ],
)
def test_what_stands_between_backticks_is_code_and_all_is_escaped(text, written):
    assert coded(text) == written


def test_a_backtick_without_its_pair_stays_as_it_is_and_is_escaped_by_the_page():
    text = coded("a ` <b>")
    assert text == "a ` <b>" and not hasattr(text, "__html__")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("target_win_rate=0.35 is not reached", "target_win_rate=0.35 is not reached."),
        ("the live run has no curve", "The live run has no curve."),
        ("Done.", "Done."),
        ("", "."),
    ],
)
def test_a_remark_gets_a_capital_unless_it_begins_with_a_setting(text, sentence):
    assert as_sentence(text) == sentence


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.000264, "+0.0264\u00a0pp"), (-0.00102, "\u22120.102\u00a0pp"), (0.0, "0\u00a0pp"), (None, "\u2013")],
)
def test_a_difference_of_small_shares_keeps_three_digits(value, written):
    assert small_points(value) == written
