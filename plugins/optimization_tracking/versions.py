"""Versions of a run: an ETag for each, and the If-Match of a caller that changes the version it has seen."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Header, Request

from optimization_tracking.models.runs import EPOCH, MICROSECOND, Run
from optimization_tracking.problem_details import invalid

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        description="ETags of a run, comma-separated: 412 unless it is in one of these versions.",
    ),
]

# RFC 9110: elements of a list may be empty. Possessive, so that no header takes long to refuse.
_TAGS = re.compile(r'[\s,]*+(?:W/)?"[^"]*"\s*+(?:,\s*+(?:(?:W/)?"[^"]*"\s*+)?+)*+')
_TAG = re.compile(r'"([^"]*)"')
_VERSION = re.compile("[0-9a-f]{1,16}")
_LAST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND


def etag_of(run: Run) -> dict[str, str]:
    """Return the header of the run's version."""
    return {"ETag": run.etag}


def read_if_match(request: Request) -> Sequence[datetime] | None:
    """Return the versions that the caller accepts, None for any; an ETag that is not one of ours matches no version.

    A weak one (W/) counts as the same: a proxy that compresses makes it of ours.

    Raises:
        Refusal: 422 for what is neither * nor ETags in quotes.
    """
    headers = request.headers.getlist("If-Match")
    if not headers or headers == ["*"]:
        return None
    text = ", ".join(headers)
    if not _TAGS.fullmatch(text):
        raise invalid("If-Match", 'must be * or ETags in quotes, as GET of the run returns them: "66172bb7a5023"')
    found = [tag for tag in _TAG.findall(text) if _VERSION.fullmatch(tag)]
    return [EPOCH + int(tag, 16) * MICROSECOND for tag in found if int(tag, 16) <= _LAST]
