import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.serving.keys import EMPTY, segment_key, split_key

VALUES = st.lists(st.one_of(st.none(), st.text(st.characters())), min_size=1, max_size=4)


def test_plain_values_stay_readable():
    assert segment_key(["Ohio", "android"]) == "Ohio|android"
    assert segment_key(["New York", "iOS"]) == "New%20York|iOS"


@given(VALUES)
def test_a_key_gives_its_values_back(values):
    assert split_key(segment_key(values)) == [value or None for value in values]


@given(VALUES, VALUES)
def test_different_values_never_share_a_key(one, other):
    one, other = [value or None for value in one], [value or None for value in other]
    assert (segment_key(one) == segment_key(other)) == (one == other)


@given(VALUES)
def test_a_key_breaks_neither_csv_nor_memcached(values):
    key = segment_key(values)
    assert key.isascii() and key.isprintable() and " " not in key
    file = io.StringIO()
    csv.writer(file).writerow([key, "1.00"])
    assert file.getvalue() == f"{key},1.00\r\n"


def test_an_absent_value_is_not_a_real_one():
    assert segment_key([None, "", "%EMPTY"]) == f"{EMPTY}|{EMPTY}|%25EMPTY"
