"""Segments are found by the words of their values."""

import pytest

from optimizer.core.pricing.segment_search import SegmentIndex, key_text
from optimizer.core.serving.keys import segment_key

SEGMENTS = [
    ("26447", "ios", "New Yorkshire"),
    ("26447", "ios", "New York"),
    ("10448", "android", "New York"),
    ("10448", "android", None),
    ("<script>", "a|b", "na\u00efve %"),
]


@pytest.fixture(scope="module")
def index() -> SegmentIndex:
    return SegmentIndex.of(map(segment_key, SEGMENTS))


@pytest.mark.parametrize(
    ("search", "places"),
    [
        ("New York ios", (1, 0)),
        ("IOS york NEW", (1, 0)),
        ("264 york", (1, 0)),
        ("android none", (3,)),
        ("<SCRIPT>", (4,)),
        ("a|b NA\u00cfVE %", (4,)),
        (".*", ()),
        ("atlantis", ()),
        ("  ", (0, 1, 2, 3, 4)),
    ],
)
def test_all_words_match_in_any_order_and_case_and_whole_words_come_first(index, search, places):
    found = index.find(search, most=10)
    assert (found.places, found.total) == (places, len(places))


def test_only_so_many_are_returned_and_all_are_counted(index):
    found = index.find("o", most=2)
    assert (len(found.places), found.total) == (2, 4)


def test_values_that_no_text_holds_do_not_stop_the_search():
    index = SegmentIndex.of([segment_key(["\ud800", "ios"]), segment_key(["x", "android"])])
    assert index.find("ios", most=5).places == (0,)
    assert SegmentIndex.of([]).find("ios", most=5).total == 0


def test_a_key_reads_as_its_values():
    assert key_text(segment_key(("26447", None, "New York"))) == "26447, none, New York"
