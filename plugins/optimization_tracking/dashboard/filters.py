"""From a page's query string to the API's own filters; both have the same names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel
from starlette.datastructures import QueryParams

Model = TypeVar("Model", bound=BaseModel)

_LISTS = ("status", "optimizerType", "tags")
_MOMENTS = ("startDate", "endDate")
# What <input type="datetime-local"> gives: without an offset; the pages say that it is UTC.
_LOCAL_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?")


@dataclass(frozen=True, slots=True)
class Query:
    """A page's query string without empty fields, for links that change a part of it."""

    pairs: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """Return the value of a field, or an empty text."""
        return next((value for key, value in self.pairs if key == name), "")

    def all(self, name: str) -> list[str]:
        """Return every value of a field."""
        return [value for key, value in self.pairs if key == name]

    def link(self, **changes: str | Sequence[str] | None) -> str:
        """Return the query string with some fields replaced, None dropped, and without the cursor of a page."""
        kept = [(key, value) for key, value in self.pairs if key not in changes and key != "cursor"]
        for name, value in changes.items():
            values = [] if value is None else [value] if isinstance(value, str) else value
            kept += [(name, one) for one in values]
        return f"?{urlencode(kept)}"


def read_query(params: QueryParams, names: Iterable[str]) -> Query:
    """Return the named fields that hold something; others are none of the page's business."""
    wanted = set(names)
    return Query(tuple((key, text) for key, value in params.multi_items() if key in wanted and (text := value.strip())))


def read_model(
    model: type[Model], query: Query, *, required: Mapping[str, Any] | None = None, **fixed: Any
) -> tuple[Model, dict[str, str]]:
    """Return the API's filters of a page, and what is wrong with them: {field: reason}.

    Where something is wrong, the filters are those of an empty query.

    Args:
        required: what an empty query has where the API asks for something.
        fixed: what every query of the page has.
    """
    known = {to_camel(name) for name in model.model_fields}
    given: dict[str, Any] = dict(required or {})
    for name in {key for key, _ in query.pairs} & known:
        given[name] = query.all(name) if name in _LISTS else query.get(name)
        if name in _MOMENTS and _LOCAL_MOMENT.fullmatch(given[name]):
            given[name] += "Z"
    try:
        return model.model_validate(given | fixed), {}
    except ValidationError as error:
        reasons: dict[str, str] = {}
        for problem in error.errors(include_url=False, include_context=False):
            field = str(problem["loc"][0]) if problem["loc"] else "filters"
            reasons.setdefault(field, problem["msg"].removeprefix("Value error, "))
        return model.model_validate({**(required or {}), **fixed}), reasons
