"""Batches of rows: checked as their models would, and handed to the database as the JSON that came."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import isfinite
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import BaseModel, PrivateAttr, TypeAdapter
from pydantic_core import SchemaValidator, core_schema

from optimization_tracking.models.base import Given
from optimization_tracking.models.values import MAX_JSON_DEPTH, MAX_JSON_INT, MAX_JSON_VALUES

MAX_BATCH = 1000

_JSON = (Any, dict[str, Any])

_ODD = (rb"\u0000", rb"\u003a", rb"\u003A", b"0" * 200)
"""NUL, an escaped colon, and a number that may be too small for a double."""
_SMALL = re.compile(rb"[eE]-\d{3}")
"""Another one."""


class RowBatch(Given):
    """A request {name: rows} of up to MAX_BATCH rows of one model; all of them or none.

    Attributes:
        row: the rows' model.
        texts: names of values that are plain text.
        converted: names of values that the model converts; Postgres may read them in another way.
    """

    row: ClassVar[type[BaseModel]]
    texts: ClassVar[tuple[str, ...]] = ()
    converted: ClassVar[frozenset[str]] = frozenset()

    _text: str | None = PrivateAttr(None)
    _count: int = PrivateAttr(0)

    @classmethod
    def agrees(cls, row: Mapping[str, Any]) -> bool:
        """Return whether the values of a row fit together, as its model has it."""
        return True

    @classmethod
    def read(cls, body: bytes) -> Self | None:
        """Return the batch of a request's body; None where only the models can say what it is or what is wrong.

        The body is parsed once. What the parser drops, an unknown name or the first of two equal ones, shows by the
        colons: the body has more of them than the values that were kept.
        """
        if any(part in body for part in _ODD) or ((b"e-" in body or b"E-" in body) and _SMALL.search(body)):
            return None
        try:
            rows = _validator_of(cls).validate_json(body)[_field_of(cls)]
            colons = cls._count_colons(rows)
        except (ValueError, RecursionError):  # a ValidationError is one
            return None
        if body.count(b":") != colons or not all(map(cls.agrees, rows)):
            return None
        text = body[body.index(b"[") : body.rindex(b"]") + 1].decode()
        return cast(Self, cls.model_construct()).holding(text, count=len(rows))

    def holding(self, text: str, *, count: int) -> Self:
        """Return the batch with its rows as a JSON array."""
        self._text, self._count = text, count
        return self

    @property
    def text(self) -> str:
        """The rows as a JSON array, with the API's names."""
        return rows_text(self.rows) if self._text is None else self._text

    @property
    def rows(self) -> Sequence[Any]:
        """The rows' models."""
        if self._text is not None:
            return TypeAdapter(list[self.row]).validate_json(self._text)  # type: ignore[name-defined]
        rows: Sequence[Any] = getattr(self, _field_of(type(self)))
        return rows

    def __len__(self) -> int:
        return len(self.rows) if self._text is None else self._count

    @classmethod
    def _count_colons(cls, rows: Sequence[Mapping[str, Any]]) -> int:
        """Return how many colons the JSON of the rows has: one a name, and those inside names and texts.

        Raises:
            ValueError: a value is one of `converted`, or JSON that `check_json` refuses.
        """
        if not cls.converted.isdisjoint(set().union(*rows)):
            raise ValueError("a value has to be converted")
        colons = 1 + sum(map(len, rows))
        for name in cls.texts:
            colons += sum(row[name].count(":") for row in rows if row.get(name) is not None)
        values = [row[name] for name in _json_names(cls.row) for row in rows if name in row]
        seen, inside = _look_into(values)
        if seen > MAX_JSON_VALUES:  # together; each may be small enough
            for value in values:
                _look_into([value])
        return colons + inside


def rows_text(rows: Iterable[BaseModel]) -> str:
    """Return models as a JSON array, with the API's names."""
    return f"[{','.join(row.model_dump_json(by_alias=True) for row in rows)}]"


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


def _look_into(values: Sequence[Any]) -> tuple[int, int]:
    """Return how many values JSON values hold, themselves included, and how many colons their JSON has.

    Raises:
        ValueError: they are too many or nested too deeply, or a number is not finite or too long.
    """
    seen, colons, level = len(values), 0, values
    for _ in range(MAX_JSON_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                colons += len(item) + "".join(item).count(":")
                below += item.values()
            elif kind is list:
                below += item
            elif kind is str:
                colons += item.count(":")
            elif kind is float and not isfinite(item):
                raise ValueError("not a JSON number")
            elif kind is int and abs(item) > MAX_JSON_INT:
                raise ValueError("a long integer")
        if not below:
            return seen, colons
        seen += len(below)
        if seen > MAX_JSON_VALUES * len(values):
            raise ValueError("too many values")
        level = below
    raise ValueError("nested too deeply")
