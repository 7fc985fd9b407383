import math

import numpy as np
import pytest

from optimizer.presentation import formats


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (formats.amount, 12.345, "12.35"),
        (formats.amount, -0.001, "0.00"),
        (formats.amount, 1234.5, "1,234"),
        (formats.amount, None, "\N{EN DASH}"),
        (formats.amount, np.nan, "\N{EN DASH}"),
        (formats.signed_amount, -0.35, "\N{MINUS SIGN}0.35"),
        (formats.percent, 0.305, "30.5\N{NO-BREAK SPACE}%"),
        (formats.percent, 0.0, "0.0\N{NO-BREAK SPACE}%"),
        (formats.percent, 0.0002, "<0.1\N{NO-BREAK SPACE}%"),
        (formats.change, 0.15, "+15.0\N{NO-BREAK SPACE}%"),
        (formats.change, -0.00001, "0.0\N{NO-BREAK SPACE}%"),
        (formats.points, -0.02, "\N{MINUS SIGN}2.0\N{NO-BREAK SPACE}pp"),
        (formats.count, 141_775, "141,775"),
        (formats.significant, 0.012344, "0.0123"),
        (formats.significant, 15.0, "15"),
        (formats.segments, 1, "1 segment"),
        (formats.segments, 1529, "1,529 segments"),
        (formats.measure, 0.012344, "0.01234"),
        (formats.measure, 250.0, "250"),
        (formats.measure, 12_345.6, "12,346"),
        (formats.measure, 1e-9, "1e-09"),
        (formats.measure, math.inf, "inf"),
        (formats.measure, True, "yes"),
        (formats.measure, "a problem", "a problem"),
    ],
)
def test_a_number_is_written_for_people(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc\r\nd", "a\tb\nc\r\nd"),
        ("a\rb", "a\\u000db"),
        ("soft\u00adhyphen", "soft\\u00adhyphen"),
        ("\u202e\u2066\ufeff", "\\u202e\\u2066\\ufeff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("\U0001f469\u200d\U0001f469 \u2764\ufe0f", "\U0001f469\u200d\U0001f469 \u2764\ufe0f"),
    ],
)
def test_what_is_not_seen_is_shown_as_an_escape(text, shown):
    assert formats.visible(text) == shown


def test_a_text_in_one_line_has_its_tabs_and_ends_as_escapes():
    assert formats.one_line("a\tb\r\nc\u202e") == "a\\u0009b\\u000d\\u000ac\\u202e"
