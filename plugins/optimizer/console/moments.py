"""Times as users give them."""

from datetime import UTC, datetime

from fastapi import HTTPException

EXAMPLE = "2026-02-03T15:00"


def read_moment(text: str) -> datetime:
    """Return the time of an ISO 8601 text in UTC; without a zone it is UTC.

    Raises:
        HTTPException: 422, it cannot be read.
    """
    try:
        return in_utc(datetime.fromisoformat(text))
    except ValueError:
        raise HTTPException(422, f"{text[:40]!r} is not a time; write for example {EXAMPLE}") from None


def in_utc(moment: datetime) -> datetime:
    """Return the time in UTC; without a zone it is UTC.

    Raises:
        HTTPException: 422, it is before the year 1 or after the year 9999 there.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise HTTPException(422, f"the time {moment.isoformat()} is out of range in UTC") from None
