"""Where an entity is, in one word: from its newest runs, and from what the monitor measured of its live run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.slope import RANDOMISED_DAYS
from optimizer.core.pricing.bids import NO_BID
from optimizer.core.pricing.target_reach import TargetReach

Word = Literal[
    "on target",
    "learning",
    "limited by cap",
    "limited by floor",
    "limited by margin",
    "limited by evidence",
    "off target",
    "stale",
    "failed",
    "no data",
]

READINESS_CODES: Mapping[Word, int] = {
    "on target": 0,
    "learning": 1,
    "limited by cap": 2,
    "limited by floor": 3,
    "limited by margin": 4,
    "limited by evidence": 5,
    "off target": 6,
    "stale": 7,
    "failed": 8,
    "no data": 9,
}
"""Word: its number as a metric. From 6 on, look at the entity."""

LIMITS: Mapping[Word, tuple[str, ...]] = {
    "limited by cap": ("cap",),
    "limited by floor": ("floor", NO_BID),
    "limited by margin": ("margin",),
    "limited by evidence": ("step", "trust_band", "held"),
}
"""Word: the reasons of bids that it sums up."""

GRACE_DAYS = 1
"""A window may be older than max_data_age_days by this much: today's run may still be on its way."""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """What is known of a run that ended.

    window_end: the end of its window, exclusive; None where it ended before it had one.
    problem: why it failed, or why its validation did; None where it can be deployed.
    """

    run_id: str
    ended_at: datetime
    window_end: datetime | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LearningState:
    """Since when a run has been learning, and about how many days are left; None where no number of days helps."""

    since: date | None
    days_left: float | None


@dataclass(frozen=True, slots=True)
class LiveFinding:
    """One figure's verdict of the live run against its forecast."""

    figure: str
    verdict: str
    reason: str | None
    first_day: date | None


@dataclass(frozen=True, slots=True)
class ReadinessFacts:
    """All that an entity's readiness follows from.

    newest: the newest run that ended and is neither cancelled nor a dry run.
    good: the newest completed run whose validation passed.
    settings: those of `good`.
    learning, reach: what `good` found of itself; None where it does not learn, or left no figures.
    findings: of the live run with the most traffic.
    """

    newest: EndedRun | None = None
    good: EndedRun | None = None
    settings: RunSettings = field(default_factory=RunSettings)
    learning: LearningState | None = None
    reach: TargetReach | None = None
    findings: Sequence[LiveFinding] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """An entity's readiness.

    since, until: from when and about until when it is so; None where that is not known.
    limits: `limited by …` -> the share of the requests whose bid it decides, the largest first; only shares above 0.
    sentence: why, and what to do next.
    """

    word: Word
    sentence: str
    since: date | None = None
    until: date | None = None
    limits: Mapping[Word, float] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The number of the word, as in READINESS_CODES."""
        return READINESS_CODES[self.word]


def assess_readiness(facts: ReadinessFacts, *, now: datetime) -> Readiness:
    """Return the entity's readiness: what is most urgent counts.

    In this order: no run ended, the newest run failed, the data is old, the run still learns, the live run is below its
    forecast, the bids miss the target.
    """
    newest, good = facts.newest, facts.good
    if newest is None:
        return Readiness("no data", "no run has ended yet; trigger the entity's DAG")
    if newest.problem is not None:
        return _failed(newest, good)
    if good is None or _is_stale(good, settings=facts.settings, now=now):
        return _stale(good or newest, settings=facts.settings)
    if facts.learning is not None:
        return _learning(good, facts.learning)
    if missed := next((found for found in facts.findings if found.verdict == "below target"), None):
        sentence = f"the live {missed.figure} is below its forecast: {missed.reason}; see `optimizer live ENTITY`"
        return Readiness("off target", sentence, since=missed.first_day, limits=_limits(facts.reach))
    return _reached(facts, good)


def _failed(newest: EndedRun, good: EndedRun | None) -> Readiness:
    instead = "nothing can be live" if good is None else f"run {good.run_id} is the newest that can be live"
    sentence = f"run {newest.run_id} failed: {newest.problem}; {instead}; see `optimizer show {newest.run_id}`"
    return Readiness("failed", sentence, since=_day(newest.ended_at))


def _is_stale(good: EndedRun, *, settings: RunSettings, now: datetime) -> bool:
    return now > _fresh_until(good, settings)


def _fresh_until(run: EndedRun, settings: RunSettings) -> datetime:
    return (run.window_end or run.ended_at) + timedelta(days=settings.max_data_age_days + GRACE_DAYS)


def _stale(good: EndedRun, *, settings: RunSettings) -> Readiness:
    end = _day(good.window_end or good.ended_at)
    sentence = (
        f"the newest completed run {good.run_id} has data until {end}, older than "
        f"max_data_age_days={settings.max_data_age_days} plus a day; check that the entity's DAG is not paused"
    )
    return Readiness("stale", sentence, since=_day(_fresh_until(good, settings)))


def _learning(good: EndedRun, state: LearningState) -> Readiness:
    if state.days_left is None:
        sentence = "learning: no number of days will show how the win rate depends on the bid; check traffic and floors"
        return Readiness("learning", sentence, since=state.since)
    if state.days_left > RANDOMISED_DAYS:
        sentence = (
            f"learning would take about {state.days_left:,.0f} days, and only the last {RANDOMISED_DAYS} count; give "
            "the entity more traffic, or turn on aggressive_exploration"
        )
        return Readiness("learning", sentence, since=state.since)
    until = _day(good.ended_at + timedelta(days=state.days_left))
    sentence = f"learning how the win rate depends on the bid, until about {until}; bids are held, with jitter"
    return Readiness("learning", sentence, since=state.since, until=until)


def _reached(facts: ReadinessFacts, good: EndedRun) -> Readiness:
    """The readiness of a run that knows the curve and is not below its forecast."""
    reach, since, limits = facts.reach, _day(good.ended_at), _limits(facts.reach)
    if reach is None:
        sentence = f"run {good.run_id} is of an earlier release and left no figures of its target; start a new run"
        return Readiness("no data", sentence, since=since)
    if reach.is_missed:
        word: Word = next(iter(limits), "limited by evidence")
        return Readiness(word, reach.sentence(facts.settings) or "", since=since, limits=limits)
    measured = {found.verdict for found in facts.findings}
    live = "live figures are on target" if measured == {"on target"} else "live figures are inconclusive so far"
    expected = f"{reach.expected_win_rate:.3g} expected of target_win_rate {reach.target_win_rate:.3g}"
    return Readiness("on target", f"{expected}; {live if measured else 'not measured live yet'}", since=since)


def _limits(reach: TargetReach | None) -> dict[Word, float]:
    if reach is None or not reach.is_missed:
        return {}
    shares = {
        word: sum(reach.limiting_shares.get(reason, 0.0) for reason in reasons) for word, reasons in LIMITS.items()
    }
    return {word: share for word, share in sorted(shares.items(), key=lambda item: -item[1]) if share > 0}


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
