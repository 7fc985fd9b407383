"""Iterations: the steps of a run, in the order of their number. They are added and never changed."""

from datetime import datetime
from itertools import repeat
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import Field, model_validator

from optimization_tracking.models.base import Answer
from optimization_tracking.models.batches import MAX_BATCH, Columns, GivenRow, RowBatch
from optimization_tracking.models.values import Amount, Count, Index, JsonObject, JsonValue, Moment, Score


class CreateIteration(GivenRow):
    """A step of a run; durationMs follows from the two times where it is left out and they are in order."""

    converted: ClassVar[frozenset[str]] = frozenset({"iterationStartTime", "iterationEndTime"})

    iteration: Index
    score: Score | None = None
    params: JsonObject = Field(default_factory=dict)
    program: JsonValue = None
    samples_in_iteration: Count | None = None
    successful_samples: Count | None = None
    avg_score: Score | None = None
    std_dev: Amount | None = None
    iteration_start_time: Moment | None = None
    iteration_end_time: Moment | None = None
    duration_ms: Count | None = None
    tokens_used: Count | None = None
    cost_usd: Amount | None = None
    metadata: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if (self.successful_samples or 0) > (self.samples_in_iteration or 0):
            raise ValueError("successfulSamples is more than samplesInIteration")
        return self

    @classmethod
    def agrees(cls, columns: Columns) -> bool:
        successes, samples = (columns.get(name) for name in ("successfulSamples", "samplesInIteration"))
        if successes is None:
            return True
        return all((some or 0) <= (of or 0) for some, of in zip(successes, samples or repeat(0), strict=False))


class CreateIterations(RowBatch):
    """Up to 1,000 steps of one run, all of them or none."""

    row: ClassVar[type[CreateIteration]] = CreateIteration

    iterations: Annotated[list[CreateIteration], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)]


class Iteration(Answer):
    """A step of a run. `is_best`: no other of the run has a better score, and no earlier one the same."""

    id: UUID
    run_id: UUID
    iteration: int
    score: float | None
    is_best: bool
    params: dict[str, Any]
    program: Any
    samples_in_iteration: int | None
    successful_samples: int | None
    avg_score: float | None
    std_dev: float | None
    iteration_start_time: datetime | None
    iteration_end_time: datetime | None
    duration_ms: int | None
    tokens_used: int | None
    cost_usd: float | None
    metadata: dict[str, Any]
    created_at: datetime
