"""The fleet: one row per client that the visitor may read, those that need attention first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from pydantic import BaseModel

from optimizer.console.context import Context, Schedule
from optimizer.control_plane.entity_outlines import EntityOutline, read_outlines
from optimizer.control_plane.entity_states import EntityState, read_entity_states
from optimizer.control_plane.live_rows import LiveDaySums
from optimizer.control_plane.live_series import read_sums_of, read_unfinished, read_win_rates
from optimizer.core.live.readiness import READINESS_CODES, Word
from optimizer.deployment.readiness import EntityStatus, status_of, word_of
from optimizer.deployment.run_incidents import APPROVAL_WAITING
from optimizer.runs.handle import settings_of

SPARK_DAYS = 30
PAGE_ROWS = 50


class SplitShare(BaseModel):
    """A live run and its percent of the traffic; role: main, canary or control."""

    run_id: str
    traffic_pct: int
    role: str


class DayFigures(BaseModel):
    """What all runs but the control brought on a day; money in currency units."""

    day: date
    win_rate: float | None
    cpm: float | None
    margin: float | None
    spend: float | None


class ClientRow(BaseModel):
    """A client at a glance.

    limits: `limited by …`: the share of requests whose bid it decides.
    yesterday: of the newest measured day. win_rates: of the last 30 days, None for a day without.
    """

    entity_code: str
    state: Word
    sentence: str
    limits: dict[str, float]
    split: list[SplitShare]
    is_pinned: bool
    live_since: datetime | None
    yesterday: DayFigures | None
    target_win_rate: float | None
    target_margin: float | None
    win_rates: list[float | None]
    saved: float | None
    canary_step: str | None
    warnings: list[str]
    is_approval_waiting: bool
    run_in_progress: str | None
    running_task: str | None
    next_run_at: datetime | None
    is_paused: bool


class Clients(BaseModel):
    """The rows of one page. total: of all that match the filter; states: how many of all clients are in each state."""

    rows: list[ClientRow]
    total: int
    page: int
    states: dict[str, int]


def read_clients(asked: Context, *, state: Word | None = None, search: str = "", page: int = 1) -> Clients:
    """Return a page of the clients that the visitor may read.

    Args:
        state: only clients in this state. search: only codes with this text, whatever the case.
        page: counts from 1.
    """
    every = read_outlines(asked.systems.engine, asked.outlines)
    allowed = asked.visitor.readable([one.entity_code for one in every])
    words = {one.entity_code: word_of(one, now=asked.now) for one in every if one.entity_code in allowed}
    counts = Counter(words.values())
    wanted = [
        one
        for one in every
        if (word := words.get(one.entity_code)) is not None
        and (state is None or word == state)
        and search.lower() in one.entity_code.lower()
    ]
    wanted.sort(key=lambda one: _urgency(one, words[one.entity_code]))
    shown = [one.entity_code for one in wanted[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]]
    return Clients(
        rows=_rows(asked, shown),
        total=len(wanted),
        page=page,
        states={word: counts[word] for word in READINESS_CODES},
    )


def _urgency(one: EntityOutline, word: Word) -> int:
    """What needs attention first: an approval that waits, then alerts, then the state; outlines are by code already."""
    waits = APPROVAL_WAITING in one.alert_kinds
    return -len(READINESS_CODES) * (2 * waits + bool(one.alert_kinds)) - READINESS_CODES[word]


def _rows(asked: Context, entity_codes: Sequence[str]) -> list[ClientRow]:
    """The rows of the clients in this order; one that was removed meanwhile is left out."""
    states = {one.entity_code: one for one in read_entity_states(asked.systems.engine, entity_codes)}
    return client_rows(asked, [states[code] for code in entity_codes if code in states])


def client_rows(asked: Context, shown: Sequence[EntityState]) -> list[ClientRow]:
    """Return a row a client, in this order."""
    ids = [one.entity_id for one in shown]
    engine, until = asked.systems.engine, asked.now.date()
    win_rates = read_win_rates(engine, ids, since=until - timedelta(days=SPARK_DAYS))
    latest = read_sums_of(engine, {entity_id: max(days) for entity_id, days in win_rates.items()})
    unfinished = read_unfinished(engine, ids)
    schedules = asked.scheduler.schedules([one.entity_code for one in shown])
    return [
        _row(
            one,
            status_of(one, now=asked.now),
            latest=latest.get(one.entity_id),
            win_rates=_by_day(win_rates.get(one.entity_id, {}), until=until),
            unfinished=unfinished.get(one.entity_id),
            schedule=schedules.get(one.entity_code, Schedule()),
        )
        for one in shown
    ]


def _row(
    one: EntityState,
    status: EntityStatus,
    *,
    latest: LiveDaySums | None,
    win_rates: list[float | None],
    unfinished: str | None,
    schedule: Schedule,
) -> ClientRow:
    main = next((share.run_id for share in status.live if share.role == "main"), None)
    return ClientRow(
        entity_code=one.entity_code,
        state=status.readiness.word,
        sentence=status.readiness.sentence,
        limits={str(word): share for word, share in status.readiness.limits.items()},
        split=[SplitShare(run_id=row.run_id, traffic_pct=row.traffic_pct, role=row.role) for row in status.live],
        is_pinned=status.is_pinned,
        live_since=next((row.deployed_at for row in one.active if row.run_id == main), None),
        yesterday=None if latest is None else figures_of(latest),
        target_win_rate=status.target_win_rate,
        target_margin=None if one.good is None else settings_of(one.good).target_margin,
        win_rates=win_rates,
        saved=status.saved,
        canary_step=status.canary_step,
        warnings=[alert.message for alert in one.alerts if alert.kind != APPROVAL_WAITING],
        is_approval_waiting=any(alert.kind == APPROVAL_WAITING for alert in one.alerts),
        run_in_progress=unfinished,
        running_task=schedule.running_task,
        next_run_at=schedule.next_run_at,
        is_paused=schedule.is_paused,
    )


def figures_of(day: LiveDaySums) -> DayFigures:
    """Return the figures of a day."""
    return DayFigures(day=day.day, win_rate=day.win_rate, cpm=day.cpm, margin=day.margin, spend=day.spend)


def _by_day(values: Mapping[date, float | None], *, until: date) -> list[float | None]:
    """One value a day for the days before `until`."""
    return [values.get(until - timedelta(days=back)) for back in range(SPARK_DAYS, 0, -1)]
