"""The columns of a team's own file in the warehouse's types; a value that cannot be read is refused by its place."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from optimizer.errors import DataError

ID_COLUMNS = frozenset({"bid_id", "run_id", "internal_adspace_id", "npi"})

MAX_EXACT_INTEGER = 2**53
"""From here on a float skips whole numbers, so a program that wrote one may have changed its digits."""

# With a point or a plus sign: without both it may be an id in hexadecimal.
_SPOILED = re.compile(r"[0-9]+\.[0-9]+[eE]\+?[0-9]+|[0-9]+[eE]\+[0-9]+")
_SPOILED_ID = re.compile(rf"{_SPOILED.pattern}|[0-9]+\.0+")
_FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}
_DIGITS_OF_A_DATE = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_LAST_US = 250_000_000_000_000_000
_NO_TIME = "is no time; write it as 2026-01-31 06:00:00 (UTC) or as an epoch in seconds"


_KINDS = {
    "text": (pa.types.is_string,),
    "number": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    "time": (pa.types.is_timestamp, pa.types.is_date),
    "flag": (pa.types.is_boolean,),
}
_WANTED = {"text": "text", "number": "numbers", "time": "times", "flag": "true and false"}
_READ_FROM = {kind: {"text", "number", kind} for kind in _KINDS}
_FORMS_OF_TEXT = (
    *(pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null),
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is, for messages."""

    path: Path
    table: str
    first_row: int

    def of(self, column: str, position: int) -> str:
        """Return file, column and row of a position from 0."""
        return f"{self.of_column(column)} in row {position + self.first_row:,}"

    def of_column(self, column: str) -> str:
        """Return file and column."""
        return f"{self.path}: {self.table.upper()}.{column}"


def convert(column: pa.ChunkedArray, field: pa.Field, place: Place) -> pa.Array:
    """Return the column in the field's type; NaN is no value.

    Raises:
        DataError: names file and column, and row and value of the first that cannot be read, and how many there are.
    """
    plain, kind = _plain(column, field.name, place), _kind(field.type)
    if (given := _kind(plain.type)) not in _READ_FROM[kind]:
        raise DataError(f"{place.of_column(field.name)} is a column of {column.type}; write {_WANTED[kind]}")
    if kind == "text":
        return _texts(plain, field.name, place)
    if kind == "time":
        return _instants(plain, field.name, place) if given == "time" else _times(plain, field.name, place)
    return _flags(plain, field.name, place) if kind == "flag" else _numbers(plain, field, place)


def _kind(data_type: pa.DataType) -> str:
    for kind, tests in _KINDS.items():
        if any(is_kind(data_type) for is_kind in tests):
            return kind
    return "other"


def _plain(column: pa.ChunkedArray, name: str, place: Place) -> pa.ChunkedArray:
    """The column without dictionaries, other forms of text, and NaN."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if any(is_text(column.type) for is_text in _FORMS_OF_TEXT):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            raise DataError(f"{place.of_column(name)} holds bytes that are not UTF-8; write it as text") from None
    if pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(numbers), None, numbers)
    return column


def _texts(column: pa.ChunkedArray, name: str, place: Place) -> pa.Array:
    if pa.types.is_floating(column.type):
        raise DataError(
            f"{place.of_column(name)} is a column of floats, which lose the digits of an id; write it as text"
        )
    texts = column.cast(pa.string()).to_pandas()
    spoiled = texts.str.fullmatch(_SPOILED_ID if name in ID_COLUMNS else _SPOILED).eq(True)
    _refuse(texts, spoiled, name, place, "was a float and lost digits; write it as text")
    _refuse(texts, texts.str.contains("\0", regex=False).eq(True), name, place, "holds a NUL byte; leave it out")
    return pa.array(texts, pa.string(), from_pandas=True)


def _numbers(column: pa.ChunkedArray, field: pa.Field, place: Place) -> pa.Array:
    given, numbers = _floats(column)
    _refuse(given, numbers.isna() & given.notna(), field.name, place, "is not a number; write it as 1234.5")
    _refuse(given, np.isinf(numbers), field.name, place, "is infinite; leave the cell empty, or the row out")
    if pa.types.is_integer(field.type):
        _refuse(given, numbers.mod(1).gt(0), field.name, place, "is not a whole number")
        _refuse(given, numbers.abs().ge(MAX_EXACT_INTEGER), field.name, place, "is too large; it must be below 2^53")
    return pa.array(numbers, pa.float64(), from_pandas=True).cast(field.type)


def _instants(column: pa.ChunkedArray, name: str, place: Place) -> pa.Array:
    zoned = pa.timestamp("us", getattr(column.type, "tz", None))
    try:
        in_us = column.cast(options=pc.CastOptions(zoned, allow_time_truncate=True))
    except pa.ArrowInvalid as error:
        raise DataError(f"{place.of_column(name)} holds a time out of range ({error}); correct it") from None
    return in_us.cast(pa.timestamp("us")).combine_chunks()


def _times(column: pa.ChunkedArray, name: str, place: Place) -> pa.Array:
    given, epochs = _floats(column)
    _refuse(given, np.isinf(epochs), name, place, _NO_TIME)
    # pandas reads "now" and "today" as times, too.
    is_date = given.astype(str).str.match(r"\s*[0-9]") & epochs.isna()
    texts = given.where(is_date, None).astype(object).str.removesuffix(" UTC")
    times = _parse(texts, "ISO8601").where(epochs.isna(), _of_epochs(epochs))
    digits = epochs.where(epochs.between(0, 1e15) & epochs.mod(1).eq(0)).astype("Int64").astype("string")
    for count, form in _DIGITS_OF_A_DATE.items():
        are_date = (digits.str.len().eq(count) & digits.str.match("19|20")).fillna(False).astype(bool)
        if are_date.any():
            times = times.where(~are_date, _parse(digits.where(are_date), form))
    _refuse(given, times.isna() & given.notna(), name, place, _NO_TIME)
    return pa.array(times, pa.timestamp("us"), from_pandas=True)


def _parse(texts: pd.Series, form: str) -> pd.Series:
    return pd.to_datetime(texts, format=form, utc=True, errors="coerce").dt.tz_localize(None).astype("M8[us]")


def _of_epochs(epochs: pd.Series) -> pd.Series:
    """The times of numbers of seconds, ms, µs or ns since 1970: until 5138 each has a size of its own."""
    size = epochs.abs()
    unit_us = np.select([size < 1e11, size < 1e14, size < 1e17], [1e6, 1e3, 1.0], 1e-3)
    in_us = (epochs * unit_us).fillna(0).clip(-_LAST_US, _LAST_US)
    return pd.Series(in_us.round().astype("int64").astype("M8[us]"), index=epochs.index)


def _flags(column: pa.ChunkedArray, name: str, place: Place) -> pa.Array:
    if pa.types.is_boolean(column.type):
        return column.combine_chunks()
    given = column.cast(pa.string()).to_pandas()
    flags = given.str.strip().str.lower().map(_FLAGS)
    _refuse(given, flags.isna() & given.notna(), name, place, "is neither true nor false")
    return pa.array(flags, pa.bool_(), from_pandas=True)


def _floats(column: pa.ChunkedArray) -> tuple[pd.Series, pd.Series]:
    """The values as given, and as floats: NaN where they are not numbers."""
    if pa.types.is_string(column.type):
        given = column.to_pandas()
        return given, pd.to_numeric(given, errors="coerce").astype(float)
    numbers = pd.Series(column.cast(pa.float64(), safe=False).to_numpy(), dtype=float)
    return numbers, numbers


def _refuse(given: pd.Series, is_bad: pd.Series, name: str, place: Place, why: str) -> None:
    if is_bad.any():
        first = int(is_bad.to_numpy().argmax())
        more = f" ({is_bad.sum():,} such rows)" if is_bad.sum() > 1 else ""
        # A doctor's identifier is in no message.
        value = "a value" if name == "npi" else repr(str(given.iloc[first])[:60])
        raise DataError(f"{place.of(name, first)}: {value} {why}{more}")
