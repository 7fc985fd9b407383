"""Which is better: groups of runs with their spread and a paired test, and the trend of one figure from run to run."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from optimization_tracking.models.base import Answer
from optimization_tracking.models.queries import RunConditions, Search
from optimization_tracking.models.values import NO_NUL, Direction, Status, check_text
from optimization_tracking.paths import name_pattern, parse_path

MAX_GROUPS = 100
MAX_TREND = 400
MAX_COMPARED = 200
MIN_RUNS = 3
"""Below that many runs a group's mean has no interval."""
MIN_PAIRS = 5
"""Below that many pairs two groups cannot be judged."""
BAND_RUNS = 28
"""The runs before one that say what to expect of it; of fewer than MIN_BAND_RUNS nothing is expected."""
MIN_BAND_RUNS = 5

GROUP_WORDS = ("name", "tag", "type", "status", "day")
PAIR_WORDS = ("day", "name")
FIGURES: dict[str, Direction | None] = {
    "final_score": None,
    "best_score": None,
    "improvement": "maximize",
    "duration_ms": "minimize",
    "avg_latency_ms": "minimize",
    "total_cost_usd": "minimize",
    "total_tokens": "minimize",
    "iterations": "minimize",
}
"""The columns that groups and trends are of, and which way is better; None: as the runs say."""


def _check_group(text: str) -> str:
    return text if text in GROUP_WORDS else _check_path(text, GROUP_WORDS)


def _check_pair(text: str) -> str:
    return text if text in PAIR_WORDS else _check_path(text, PAIR_WORDS)


def _check_figure(text: str) -> str:
    return text if text in FIGURES else _check_path(text, FIGURES)


def _check_path(text: str, words: Iterable[str]) -> str:
    try:
        parse_path(text)
    except ValueError as error:
        raise ValueError(f"is neither a place in the run ({error}) nor one of {', '.join(words)}") from None
    return text


def _check_pattern(text: str) -> str:
    name_pattern(text)
    return text


Place = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=NO_NUL), AfterValidator(check_text)]
Figure = Annotated[Place, AfterValidator(_check_figure)]


class FigureConditions(RunConditions):
    """Runs and one of their figures.

    `figure`: a column, as final_score, or a number in the run's JSON, as evaluationResults.training.loss. `better`:
    which way it is better, where that is not the runs' own direction. Completed runs count, unless `status` names
    others.
    """

    figure: Figure = "final_score"
    better: Direction | None = None


class GroupFilters(FigureConditions):
    """How runs are grouped, and what pairs them.

    `by`: tag, type, status, day, name (with `namePattern`, where {} is the part that is the group and * is anything),
    or a place in the run's JSON, as config.depth or metadata.entity. `pairBy`: what two runs have in common that are
    compared with each other, as day, config.seed or metadata.entity. `baseline`: the group that the others are compared
    with; without it the one with the oldest run.
    """

    by: Annotated[Place, AfterValidator(_check_group)]
    name_pattern: Annotated[Search, AfterValidator(_check_pattern)] | None = None
    pair_by: Annotated[Place, AfterValidator(_check_pair)] | None = None
    baseline: Place | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_GROUPS)] = 25

    @model_validator(mode="after")
    def _name_has_a_pattern(self) -> "GroupFilters":
        if (self.by == "name") != (self.name_pattern is not None):
            raise ValueError("namePattern belongs to by=name, and by=name needs it: release-{} *")
        return self


class TrendFilters(FigureConditions):
    """Whose figure is followed: the newest `limit` runs that match."""

    limit: Annotated[int, Field(ge=1, le=MAX_TREND)] = 90


class CompareFilters(RunConditions):
    """Which runs are compared: these, by `run`, or the newest that match the filters; at most 200."""

    run: Annotated[list[UUID], Field(max_length=MAX_COMPARED)] = Field(default_factory=list)


class ComparisonRun(Answer):
    """A run beside others."""

    id: UUID
    project_id: str
    run_name: str
    optimizer_type: str
    status: Status
    direction: Direction
    metric: str | None
    initial_score: float | None
    final_score: float | None
    best_score: float | None
    improvement: float | None
    improvement_pct: float | None
    iterations: int
    duration_ms: int | None
    total_cost_usd: float
    created_at: datetime


class DifferingKey(Answer):
    """A key of the config, its parts joined by dots, that is not the same in all runs; values in the order of the runs.

    `is_set`: which of the runs have the key; the value of the others is null.
    """

    key: str
    values: list[Any]
    is_set: list[bool]


class RunDifferences(Answer):
    """Runs and what differs in their configs.

    `same`: how many keys are the same in all of them; `left_out`: how many are not compared or not listed, because they
    are very many; `unread`: how many configs are too long.
    """

    runs: list[ComparisonRun]
    differing: list[DifferingKey]
    same: int
    left_out: int
    unread: int


class MeasuredFigure(Answer):
    """What is measured, and which way it is better. `metric`: what the runs' scores are, where they say it."""

    name: str
    direction: Direction
    metric: str | None


class LeftOut(Answer):
    """Runs that match and do not count: of another direction or metric, without the group's key or the figure."""

    other_direction: int
    other_metric: int
    no_group: int
    no_figure: int
    too_old: int


class PairedTest(Answer):
    """A group against the baseline, over what both have in common.

    `mean_difference` is this group's mean minus the baseline's, `low` and `high` its interval. All intervals of an
    answer hold together with 95 % confidence (Bonferroni), and `p_value` is adjusted in the same way. Runs of one
    group with the same pair are averaged first. The test is Student's t on the differences: it assumes that the pairs
    are independent and their differences roughly normal.
    """

    pairs: int
    mean_difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    verdict: Literal["better", "worse", "inconclusive", "cannot_be_judged"]
    reason: str


class RunGroup(Answer):
    """Runs with the same key, whose JSON is `value`; of a key of 300 characters or more that is None.

    `low`, `high`: the 95 % interval of the mean, by Student's t; None below three runs.
    """

    key: str
    value: Any
    runs: int
    states: dict[str, int]
    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    best: float | None
    worst: float | None
    first_run_at: datetime
    last_run_at: datetime
    is_baseline: bool
    against_baseline: PairedTest | None


class RunGroups(Answer):
    """Groups by their mean, the best first. `total`: how many there are; `paired_by`: None where none were compared."""

    by: str
    figure: MeasuredFigure
    paired_by: str | None
    baseline: str | None
    total: int
    runs: int
    left_out: LeftOut
    groups: list[RunGroup]


class TrendPoint(Answer):
    """A run and what the runs before it led one to expect: `low` to `high` holds 95 % of such values."""

    run_id: UUID
    run_name: str
    status: str
    at: datetime
    value: float
    low: float | None
    high: float | None
    verdict: Literal["as_expected", "better", "worse", "cannot_be_judged"]


class Trend(Answer):
    """One figure from run to run, the oldest first, and the band that is expected of the next.

    The band of a run is the prediction interval of the up to 28 runs before it (Student's t): it assumes that they vary
    around one level, without a trend or a weekly pattern.
    """

    figure: MeasuredFigure
    points: list[TrendPoint]
    next_low: float | None
    next_high: float | None
    left_out: LeftOut
