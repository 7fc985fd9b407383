"""Runs: one optimization from its start to its end."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from optimization_tracking.models.base import Answer, Given
from optimization_tracking.models.iterations import Iteration
from optimization_tracking.models.values import (
    Amount,
    Count,
    Direction,
    Flag,
    Index,
    JsonObject,
    JsonValue,
    MetricName,
    Moment,
    Name,
    OptimizerType,
    ProjectId,
    Score,
    Status,
    Tags,
    Text,
    absent,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

TRANSITIONS: dict[str, tuple[str, ...]] = {
    "pending": ("running", "completed", "failed", "cancelled"),
    "running": ("completed", "failed", "cancelled"),
    "completed": (),
    "failed": (),
    "cancelled": (),
}
"""Status: those that may follow it. The same status again is not a change."""


class RunOutcome(Given):
    """What creating and updating a run have in common; null clears a value.

    Totals that the run's iterations also add up to (iterations, samplesEvaluated, totalTokens, …) may be set by a
    caller that logs no iterations; iterations that are logged later are added to them.
    """

    start_time: Moment | None = None
    end_time: Moment | None = None
    initial_score: Score | None = None
    final_score: Score | None = None
    best_score: Score | None = None
    iterations: Index = Field(default_factory=absent)
    samples_evaluated: Count = Field(default_factory=absent)
    successful_samples: Count = Field(default_factory=absent)
    failed_samples: Count = Field(default_factory=absent)
    total_tokens: Count = Field(default_factory=absent)
    total_cost_usd: Amount = Field(default_factory=absent)
    avg_latency_ms: Amount | None = None
    best_program: JsonValue = None
    final_program: JsonValue = None
    evaluation_results: JsonValue = None
    error_message: Text | None = None
    error_stack: Text | None = None


class CreateRun(RunOutcome):
    """A new run; projectId may be left out where the caller has one project only."""

    project_id: ProjectId | None = None
    run_name: Name
    optimizer_type: OptimizerType
    status: Status = "pending"
    direction: Direction = "maximize"
    config: JsonObject = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    tags: Tags = Field(default_factory=list)
    metric: MetricName | None = None


class UpdateRun(RunOutcome):
    """Only what is sent changes; `metadata` is a JSON merge patch (RFC 7396): other keys stay, null removes one.

    `if_unowned`: the run changes only where no process holds a lease of it, else 409.
    """

    run_name: Name = Field(default_factory=absent)
    optimizer_type: OptimizerType = Field(default_factory=absent)
    status: Status = Field(default_factory=absent)
    config: JsonObject = Field(default_factory=absent)
    metadata: JsonObject = Field(default_factory=absent)
    tags: Tags = Field(default_factory=absent)
    metric: MetricName | None = None
    if_unowned: Flag = Field(default_factory=absent)


class Run(Answer):
    """A run. Scores have the caller's unit; `metric` says what they measure, `direction` whether high or low is good.

    `end_time` is by the service's clock where the stated one, `stated_end_time`, is before the start.
    `improvement` is positive where the final score is better than the initial one, `improvement_pct` in percent of the
    initial score's size and None where that is 0. `best_score` and the totals follow the run's iterations.
    `iterations_stored` and `samples_stored` are how many of them can be read.
    """

    id: UUID
    project_id: str
    run_name: str
    optimizer_type: str
    status: Status
    direction: Direction
    config: dict[str, Any]
    start_time: datetime | None
    end_time: datetime | None
    duration_ms: int | None
    initial_score: float | None
    final_score: float | None
    best_score: float | None
    improvement: float | None
    improvement_pct: float | None
    iterations: int
    samples_evaluated: int
    successful_samples: int
    failed_samples: int
    total_tokens: int
    total_cost_usd: float
    avg_latency_ms: float | None
    best_program: Any
    final_program: Any
    evaluation_results: Any
    error_message: str | None
    error_stack: str | None
    metadata: dict[str, Any]
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    stated_end_time: datetime | None = None
    metric: str | None = None
    best_iteration: int | None = None
    iterations_stored: int = 0
    samples_stored: int = 0

    @property
    def etag(self) -> str:
        """The ETag of the run's version; each change, also by iterations, gives a new one."""
        return f'"{(self.updated_at - EPOCH) // MICROSECOND:x}"'


class RunWithIterations(Run):
    """A run with its first iterations; `iteration_list` is None where they were not asked for.

    `iteration_cursor` is where GET /runs/{runId}/iterations goes on, None where the list has them all.
    """

    iteration_list: list[Iteration] | None = None
    iteration_cursor: str | None = None


class HoldRun(Given):
    """How long a process may be silent before others take it for dead."""

    seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 60


class Lease(Answer):
    """A process works on the run, at least until then."""

    run_id: UUID
    owner: str
    expires_at: datetime


class ReleasedLease(Answer):
    """A lease that is no more."""

    run_id: UUID
    owner: str


class DeletedRun(Answer):
    """What was deleted, with all its iterations and samples."""

    id: UUID
    deleted: bool = True
