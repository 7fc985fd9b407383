import pytest

from optimizer.core.config.schedule import check_schedule
from optimizer.errors import ConfigError


@pytest.mark.parametrize(
    "schedule", ["", "0 6 * * *", "*/30 6-8 * * mon-fri", "@daily", "0 6 29 2 *", "0 0 L * *", "0 6 30 2 1"]
)
def test_a_schedule_that_fires_is_taken(schedule):
    check_schedule(schedule)


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("0 6 * * * *", "has 6 fields instead of minute, hour, day, month and weekday"),
        ("0 6 * * * * 2026", "has 7 fields"),
        ("not a cron", "has 3 fields"),
        ("not a cron at all", "is not a cron expression"),
        ("0 25 * * *", "is not a cron expression"),
        ("@once", "is not a cron expression"),
        ("@fortnightly", "is not a cron expression"),
        ("0 0 31 2 *", "never fires: no month has that day"),
        ("0 0 31 4,6,9,11 *", "never fires"),
    ],
)
def test_a_schedule_that_never_fires_or_fires_by_the_second_is_refused(schedule, problem):
    with pytest.raises(ConfigError) as raised:
        check_schedule(schedule)
    message = str(raised.value)
    assert message.startswith(f"schedule={schedule!r}") and problem in message
    assert message.endswith("write one such as '0 6 * * *' (daily at 06:00 UTC)")
