"""Versions of a run: an ETag for each, and the If-Match of a caller that changes the version it has seen."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Header

from optimization_tracking.models.runs import Run

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        description="ETags of a run, comma-separated: 412 unless it is in one of these versions.",
    ),
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def etag_of(run: Run) -> dict[str, str]:
    """Return the header of the run's version; each change, also by iterations, gives a new one."""
    return {"ETag": f'"{(run.updated_at - _EPOCH) // _MICROSECOND:x}"'}


def read_if_match(header: str | None) -> Sequence[datetime] | None:
    """Return the versions that the caller accepts, None for any; what is no ETag of ours matches no version."""
    if header is None or header.strip() == "*":
        return None
    moments = []
    for tag in header.split(","):
        try:
            moments.append(_EPOCH + int(tag.strip().removeprefix("W/").strip('"'), 16) * _MICROSECOND)
        except (ValueError, OverflowError):
            continue
    return moments
