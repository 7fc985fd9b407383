"""Which runs the story has."""

from lab.history.story import CANARY_DAY, OUTAGE_DAY, morning_of


def test_runs_are_daily_up_to_the_canary_and_every_third_day_after_it():
    before = [morning_of(day, is_canary_over=False) for day in range(CANARY_DAY + 1)]
    assert [morning.is_warehouse_away for morning in before if morning] == [
        day == OUTAGE_DAY for day in range(CANARY_DAY + 1)
    ]
    after = [day for day in range(CANARY_DAY + 1, 21) if morning_of(day, is_canary_over=True)]
    assert after == [6, 9, 12, 15, 18]


def test_a_canary_is_tried_again_the_next_day_where_its_run_was_held():
    mornings = [morning_of(day, is_canary_over=False) for day in (CANARY_DAY, CANARY_DAY + 1)]
    assert [morning.values["promotion"] for morning in mornings if morning] == ["canary", "canary"]
