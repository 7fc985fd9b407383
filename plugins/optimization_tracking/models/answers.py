"""The envelope of every answer, and the problem that a refusal is."""

from typing import Generic, TypeVar

from pydantic import Field

from optimization_tracking.models.base import Answer

Data = TypeVar("Data")


class Pagination(Answer):
    """Where a page stands. `next_cursor` leads on and is None on the last page.

    A page ends at its limit or where the next row would exceed the answer's bytes, whichever comes first.
    `total` counts what the filters match, as of the first page of a chain of cursors; None where it was not asked for,
    or is not counted.
    """

    total: int | None
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class One(Answer, Generic[Data]):
    """One thing."""

    success: bool = True
    data: Data


class Page(Answer, Generic[Data]):
    """Several things, and how to get more."""

    success: bool = True
    data: list[Data]
    pagination: Pagination


class Batch(Answer, Generic[Data]):
    """What a batch wrote; `data` has as much of it as fits, nothing where the caller said `Prefer: return=minimal`."""

    success: bool = True
    created: int
    data: list[Data]


class FieldError(Answer):
    """What is wrong with one field; its name is a path, as samples.3.score."""

    field: str
    reason: str


class Problem(Answer):
    """A refusal as RFC 9457 has it (application/problem+json)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[FieldError] = Field(default_factory=list)


class Health(Answer):
    """Whether the service has its database."""

    status: str
    revision: str | None = None
