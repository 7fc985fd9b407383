"""Samples: what an iteration was tried on, one prediction each."""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import Field

from optimization_tracking.models.base import Answer
from optimization_tracking.models.batches import MAX_BATCH, GivenRow, RowBatch
from optimization_tracking.models.values import Amount, Count, Flag, Index, JsonObject, JsonValue, Name, Score, Text


class CreateSample(GivenRow):
    """One prediction of an iteration that exists already; iterationId, where it is given, must be that iteration's."""

    texts: ClassVar[tuple[str, ...]] = ("programHash", "errorMessage")
    converted: ClassVar[frozenset[str]] = frozenset({"iterationId"})

    iteration: Index
    sample_index: Index
    iteration_id: UUID | None = None
    input: JsonValue = None
    predicted_output: JsonValue = None
    expected_output: JsonValue = None
    score: Score | None = None
    is_correct: Flag | None = None
    program_hash: Name | None = None
    latency_ms: Amount | None = None
    tokens_used: Count | None = None
    cost_usd: Amount | None = None
    error_message: Text | None = None
    metadata: JsonObject = Field(default_factory=dict)


class CreateSamples(RowBatch):
    """Up to 1,000 samples of one run, of any of its iterations; all of them or none."""

    row: ClassVar[type[CreateSample]] = CreateSample

    samples: Annotated[list[CreateSample], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)]

    @property
    def places(self) -> list[tuple[int, UUID | None]]:
        """Iteration and iterationId of each sample, without the models of all that it holds."""
        if self._given is not None:  # an iterationId is one of `converted`: none of these rows has it
            return [(row["iteration"], None) for row in self._given]
        return [(sample.iteration, sample.iteration_id) for sample in self.samples]


class Sample(Answer):
    """One prediction of an iteration."""

    id: UUID
    run_id: UUID
    iteration_id: UUID
    iteration: int
    sample_index: int
    input: Any
    predicted_output: Any
    expected_output: Any
    score: float | None
    is_correct: bool | None
    program_hash: str | None
    latency_ms: float | None
    tokens_used: int | None
    cost_usd: float | None
    error_message: str | None
    metadata: dict[str, Any]
    created_at: datetime
