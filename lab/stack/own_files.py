"""A team's own file, CSV or Parquet, as a table; refusals never repeat a row, which may hold a doctor's identifier."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from optimizer.errors import DataError

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_OTHER_SEPARATORS = (";", "\t", "|")
_CHUNK_CHARACTERS = 1_000_000
_NOT_UTF8 = "it is not text in UTF-8; save it as CSV in UTF-8"

_CELL = re.compile(r"In CSV column #(\d+): Row #(\d+): .*", re.DOTALL)
_CELL_COUNT = re.compile(r"(Row #\d+: Expected \d+ columns, got \d+).*", re.DOTALL)


def is_parquet(path: Path) -> bool:
    """Return whether a file's name is one of Parquet; any other file is read as CSV."""
    return path.suffix.lower() in (".parquet", ".pq")


def read_rows(path: Path, *, table: str) -> pa.Table:
    """Return a file's rows. All columns of a CSV file are text, where an empty cell is no value.

    A CSV file is UTF-8, or UTF-16 with a byte-order mark. Commas separate its cells, or semicolons, tabs or bars where
    its header has no comma. It is decompressed where its name says so, as in `bids.csv.gz`.

    Raises:
        DataError: names the file and, where there is one, the row.
    """
    try:
        if not is_parquet(path):
            return _read_csv(path, table=table)
        rows = pq.read_table(path)
        rows.validate(full=True)
    except UnicodeError:
        reason = _NOT_UTF8
    except (OSError, EOFError, csv.Error, pa.ArrowException) as error:
        reason = _without_content(str(error))
    else:
        return rows
    raise _refused(path, table, reason)


def _read_csv(path: Path, *, table: str) -> pa.Table:
    encoding, separator, header = _read_header(path)
    if any("\ufffd" in cell or "\0" in cell for cell in header):
        raise _refused(path, table, _NOT_UTF8)
    options = {
        # With several threads, errors do not say which row they mean.
        "read_options": pa_csv.ReadOptions(use_threads=False, encoding=encoding),
        "parse_options": pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        "convert_options": pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
        ),
    }
    try:
        rows = pa_csv.read_csv(pa.input_stream(path), **options)
    except pa.ArrowException as error:
        if cell := _CELL.fullmatch(str(error)):
            place = f"the column {header[int(cell[1])]} in row {int(cell[2]):,}"
            raise _refused(path, table, f"{place} is not UTF-8; save the file as CSV in UTF-8") from None
        raise
    last = rows.slice(max(rows.num_rows - 1, 0)).to_pylist()
    has_break = any("\n" in cell or "\r" in cell for row in last for cell in row.values() if cell)
    if has_break and sum(text.count('"') for text in _texts(path, encoding)) % 2:
        reason = f"a quote opens in row {rows.num_rows + 1:,} and never closes; close it, or write it twice"
        raise _refused(path, table, reason)
    return rows


def _read_header(path: Path) -> tuple[str, str, list[str]]:
    """Return encoding, separator and the header's cells, which may be quoted and hold line breaks."""
    with pa.input_stream(path) as file:
        encoding = "utf-16" if file.read(2) in _UTF16_MARKS else "utf8"
    with _open_text(path, encoding) as text:
        line = next((line for line in text if line.strip("\r\n")), "")
    separator = next((other for other in _OTHER_SEPARATORS if other in line and "," not in line), ",")
    with _open_text(path, encoding) as text:
        header = next(filter(None, csv.reader(text, delimiter=separator)), [])
    return encoding, separator, header


def _texts(path: Path, encoding: str) -> Iterator[str]:
    with _open_text(path, encoding) as text:
        while chunk := text.read(_CHUNK_CHARACTERS):
            yield chunk


def _open_text(path: Path, encoding: str) -> io.TextIOWrapper:
    marked = "utf-8-sig" if encoding == "utf8" else encoding
    return io.TextIOWrapper(pa.input_stream(path), encoding=marked, errors="replace", newline="")


def _without_content(message: str) -> str:
    if "straddl" in message:
        return "one row is longer than 1 MB, as after a quote that never closes; close the quote or shorten the row"
    return _CELL_COUNT.sub(r"\1", message).strip()


def _refused(path: Path, table: str, reason: str) -> DataError:
    return DataError(f"{path} cannot be read as rows of {table.upper()}: {reason}")
