"""Batches of rows: checked as their models would, and handed to the database column by column."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from math import isfinite
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import BaseModel, PrivateAttr, TypeAdapter
from pydantic_core import SchemaValidator, core_schema, to_json

from optimization_tracking.models.base import Given
from optimization_tracking.models.values import MAX_JSON_DEPTH, MAX_JSON_INT, MAX_JSON_VALUES

MAX_BATCH = 1000

_JSON = (Any, dict[str, Any])
_NUMBERS = {int, float, bool}

_ODD = (rb"\u0000", rb"\u003a", rb"\u003A")
"""NUL, and an escaped colon."""

Columns = Mapping[str, Sequence[Any]]
"""Of rows: for each of the API's names their values in the rows' order, None where a row has none."""
SpelledColumns = dict[str, str | None]
"""The same as the statements take it."""


class GivenRow(Given):
    """A row that comes alone or in a batch.

    Attributes:
        texts: names of values that are plain text.
        converted: names of values that the model converts; the colons of their JSON are unknown.
    """

    texts: ClassVar[tuple[str, ...]] = ()
    converted: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def agrees(cls, columns: Columns) -> bool:
        """Return whether the values of each row fit together, as the model has it."""
        return True


class RowBatch(Given):
    """A request {name: rows} of up to MAX_BATCH rows of one model; all of them or none."""

    row: ClassVar[type[GivenRow]]

    _given: Sequence[dict[str, Any]] | None = PrivateAttr(None)
    _columns: SpelledColumns = PrivateAttr(default_factory=dict)

    @classmethod
    def read(cls, body: bytes) -> Self | None:
        """Return the batch of a request's body; None where only the models can say what it is or what is wrong.

        The body is parsed once. What the parser drops, an unknown name or the first of two equal ones, shows by the
        colons: the body has more of them than the values that were kept.
        """
        if b"\\" in body and any(part in body for part in _ODD):
            return None
        try:
            rows = _validator_of(cls).validate_json(body)[_field_of(cls)]
            columns = {name: [row.get(name) for row in rows] for name in set().union(*rows)}
            cls._check_json(columns)
        except (ValueError, RecursionError):  # a ValidationError is one
            return None
        spelled = spell_columns(columns, row=cls.row)
        inside = sum((spelled[name] or "").count(":") for name in _quoted_names(cls.row) & columns.keys())
        if body.count(b":") != 1 + sum(map(len, rows)) + inside or not cls.row.agrees(columns):
            return None
        return cast(Self, cls.model_construct()).holding(rows, columns=spelled)

    def holding(self, rows: Sequence[dict[str, Any]], *, columns: SpelledColumns) -> Self:
        """Return the batch with its rows, as they were parsed and as `spell_columns` gives them to the statements."""
        self._given, self._columns = rows, columns
        return self

    @property
    def columns(self) -> SpelledColumns:
        """The rows as `spell_columns` gives them to the statements."""
        return self._columns or spell_columns(_columns_of(self.rows), row=self.row)

    @property
    def rows(self) -> Sequence[Any]:
        """The rows' models."""
        if self._given is not None:
            return TypeAdapter(list[self.row]).validate_python(self._given)  # type: ignore[name-defined]
        rows: Sequence[Any] = getattr(self, _field_of(type(self)))
        return rows

    def __len__(self) -> int:
        return len(self.rows if self._given is None else self._given)

    @classmethod
    def _check_json(cls, columns: Columns) -> None:
        """Pass where no value is one of `converted`, or JSON that `check_json` refuses.

        Raises:
            ValueError: one is.
        """
        if not cls.row.converted.isdisjoint(columns):
            raise ValueError("a value has to be converted")
        values = [value for name in _json_names(cls.row) for value in columns.get(name, ()) if value is not None]
        if _look_into(values) > MAX_JSON_VALUES:  # together; each may be small enough
            for value in values:
                _look_into([value])


def spell_columns(columns: Columns, *, row: type[GivenRow]) -> SpelledColumns:
    """Return the columns of rows of a model as the statements take them; None where no row has a value.

    A JSON array of JSON and of texts; of all else an array's text, which differs in its brackets only.
    """
    spelled: SpelledColumns = dict.fromkeys(_names_of(row))
    for name, values in columns.items():
        if values.count(None) < len(values):
            text = to_json(values).decode()
            spelled[name] = text if name in _quoted_names(row) else f"{{{text[1:-1]}}}"
    return spelled


def spell_row(given: GivenRow) -> SpelledColumns:
    """Return one row as `spell_columns` returns several."""
    return spell_columns(_columns_of([given]), row=type(given))


def _columns_of(rows: Sequence[GivenRow]) -> Columns:
    values = [row.model_dump(by_alias=True) for row in rows]
    return {name: [row[name] for row in values] for name in values[0]}


@cache
def _names_of(row: type[BaseModel]) -> tuple[str, ...]:
    return tuple(info.alias or name for name, info in row.model_fields.items())


@cache
def _quoted_names(row: type[GivenRow]) -> frozenset[str]:
    """Return the names of JSON and of text: in an array's text its characters would have to be escaped."""
    return frozenset((*_json_names(row), *row.texts))


@cache
def _field_of(batch: type[RowBatch]) -> str:
    (name,) = batch.model_fields
    return name


@cache
def _json_names(row: type[BaseModel]) -> tuple[str, ...]:
    return tuple(info.alias or name for name, info in row.model_fields.items() if info.annotation in _JSON)


@cache
def _validator_of(batch: type[RowBatch]) -> SchemaValidator:
    """Return what parses a body and checks every value but the inside of JSON; rows become dictionaries."""
    fields = {}
    for name, info in batch.row.model_fields.items():
        is_plain = info.annotation in _JSON or not info.metadata
        kind: Any = info.annotation if is_plain else Annotated[info.annotation, *info.metadata]
        fields[info.alias or name] = core_schema.typed_dict_field(
            TypeAdapter(kind).core_schema, required=info.is_required()
        )
    row = core_schema.typed_dict_schema(fields, extra_behavior="ignore")
    rows = core_schema.list_schema(row, min_length=1, max_length=MAX_BATCH, fail_fast=True)
    field = core_schema.typed_dict_field(rows, required=True)
    return SchemaValidator(core_schema.typed_dict_schema({_field_of(batch): field}, extra_behavior="ignore"))


def _look_into(values: Sequence[Any]) -> int:
    """Return how many values JSON values hold, themselves included.

    Raises:
        ValueError: they are too many or nested too deeply, or a number is not finite or too long.
    """
    seen, level = len(values), values
    for _ in range(MAX_JSON_DEPTH + 1):
        kinds = set(map(type, level))
        _check_numbers([item for item in level if type(item) in _NUMBERS] if kinds - _NUMBERS else level)
        below: list[Any] = []
        if dict in kinds:
            below += chain.from_iterable(item.values() for item in level if type(item) is dict)
        if list in kinds:
            below += chain.from_iterable(item for item in level if type(item) is list)
        if not below:
            return seen
        seen += len(below)
        if seen > MAX_JSON_VALUES * len(values):
            raise ValueError("too many values")
        level = below
    raise ValueError("nested too deeply")


def _check_numbers(numbers: Sequence[float]) -> None:
    """Pass where all numbers are finite and none is longer than check_json allows."""
    try:
        if isfinite(sum(map(abs, numbers))):
            return
    except OverflowError:  # an integer beyond every double
        pass
    for number in numbers:
        if (isinstance(number, float) and not isfinite(number)) or abs(number) > MAX_JSON_INT:
            raise ValueError("not a JSON number, or a long integer")
