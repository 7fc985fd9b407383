"""Whether a schedule starts runs as a person means it."""

from datetime import UTC, datetime
from functools import lru_cache

from croniter import CroniterBadDateError, croniter

from optimizer.errors import ConfigError

_EXAMPLE = "write one such as '0 6 * * *' (daily at 06:00 UTC)"
_ANY_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)
_FIELDS = 5


@lru_cache(maxsize=1_024)  # a search for the next moment takes .4 ms, and thousands of entities share few schedules
def check_schedule(schedule: str) -> None:
    """Pass where the schedule is empty (no run starts by itself) or a cron expression that fires, by the minute.

    Raises:
        ConfigError: it is no cron expression, has fields of seconds or years, or never fires.
    """
    if not schedule:
        return
    if not schedule.startswith("@") and len(schedule.split()) != _FIELDS:
        raise ConfigError(
            f"schedule={schedule!r} has {len(schedule.split())} fields instead of minute, hour, day, month and "
            f"weekday; {_EXAMPLE}"
        )
    if not croniter.is_valid(schedule):
        raise ConfigError(f"schedule={schedule!r} is not a cron expression; {_EXAMPLE}")
    try:
        croniter(schedule, _ANY_MOMENT).get_next(datetime)
    except CroniterBadDateError:
        raise ConfigError(f"schedule={schedule!r} never fires: no month has that day; {_EXAMPLE}") from None
