"""The CSV files of a run hold any text that a log may bring."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from optimizer.runs.outputs import write_csv

NAMES = ["a.example", "line\nend", "lone\rreturn", "\r", 'a,"b"', " ", "Zoë", "NaN"]


@pytest.mark.parametrize("dtype", ["object", "string"])
@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_every_name_is_read_as_it_was_written(tmp_path: Path, names: list[str], dtype: str):
    table = pd.DataFrame({"domain": pd.array(names, dtype=dtype), "multiplier": 1 / 3, "bids": 7})
    with write_csv(tmp_path / "domains.csv", table).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["domain", "multiplier", "bids"], *([name, "0.3333333333", "7"] for name in names)]


def test_an_ordinary_table_has_no_quotes(tmp_path: Path):
    path = write_csv(tmp_path / "bids.csv", pd.DataFrame({"segment_key": ["Ohio|ios"], "bid": [12.5]}))
    assert path.read_bytes() == b"segment_key,bid\nOhio|ios,12.5\n"
