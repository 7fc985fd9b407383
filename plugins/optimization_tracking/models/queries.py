"""What a list may be asked for, in the query string."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from optimization_tracking.models.base import Given
from optimization_tracking.models.values import (
    MAX_SCORE,
    MAX_TAGS,
    NO_NUL,
    Direction,
    JsonObjectText,
    MetricName,
    Moment,
    OptimizerType,
    ProjectId,
    Status,
    Tag,
    check_text,
)

MAX_PAGE = 100
MAX_LONG_PAGE = 1000
MAX_OFFSET = 10_000


def _check_offset(offset: int) -> int:
    """An offset reads all that it leaves out; a cursor does not."""
    if offset > MAX_OFFSET:
        raise ValueError(f"is beyond {MAX_OFFSET:,}; follow nextCursor from page to page, which is fast at any depth")
    return offset


Cursor = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[A-Za-z0-9_-]+$")]
Offset = Annotated[int, Field(ge=0, json_schema_extra={"maximum": MAX_OFFSET}), AfterValidator(_check_offset)]
Search = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=NO_NUL), AfterValidator(check_text)]
# Query strings are text, so numbers are converted here and nowhere else.
ScoreBound = Annotated[float, Field(ge=-MAX_SCORE, le=MAX_SCORE, allow_inf_nan=False)]
OrderBy = Literal["created_at", "final_score", "improvement", "duration_ms"]


class RunConditions(Given):
    """Which of a project's runs.

    Several statuses or optimizerTypes mean any of them, several tags all of them. `config` and `metadata` match runs
    that contain the given object, `search` those with the text anywhere in their name, upper and lower case alike, and
    `runName` those of exactly this name. Scores are final scores. The
    time range [startDate, endDate) is of createdAt.
    """

    project_id: ProjectId | None = None
    status: Annotated[list[Status], Field(max_length=5)] = Field(default_factory=list)
    optimizer_type: Annotated[list[OptimizerType], Field(max_length=20)] = Field(default_factory=list)
    direction: Direction | None = None
    metric: MetricName | None = None
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS)] = Field(default_factory=list)
    config: JsonObjectText | None = None
    metadata: JsonObjectText | None = None
    search: Search | None = None
    run_name: Search | None = None
    min_score: ScoreBound | None = None
    max_score: ScoreBound | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None


class RunFilters(RunConditions):
    """Filters, order and page of a list of runs.

    `top`: the best completed runs of one direction, best first;
    without `direction` those that maximize, or where there are none, those that minimize.
    """

    top: bool = False
    order_by: OrderBy = "created_at"
    order_direction: Literal["asc", "desc"] = "desc"
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 20
    offset: Offset = 0
    cursor: Cursor | None = None
    include_total: bool = True
    include_iterations: bool = False

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.cursor and self.offset:
            raise ValueError("cursor and offset exclude each other")
        if self.top and self.offset:
            raise ValueError("top goes from page to page by its cursor; leave offset out")
        return self


class IterationPage(Given):
    """A page of a run's iterations, by their number."""

    limit: Annotated[int, Field(ge=1, le=MAX_LONG_PAGE)] = 100
    offset: Offset = 0
    cursor: Cursor | None = None


class SamplePage(IterationPage):
    """A page of a run's samples, by iteration and sampleIndex."""

    iteration: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    is_correct: bool | None = None


class ShortRowsPage(Given):
    """A page of rows that are short and in one order: projects, leases, figures."""

    limit: Annotated[int, Field(ge=1, le=MAX_LONG_PAGE)] = MAX_LONG_PAGE
    cursor: Cursor | None = None


class AnalyticsFilters(ShortRowsPage):
    """Which of a project's figures, and a page of them."""

    project_id: ProjectId | None = None
    optimizer_type: OptimizerType | None = None
    status: Status | None = None


class RunDetail(Given):
    """Whether a run comes with its iterations, and how many of the first of them."""

    include_iterations: bool = True
    iteration_limit: Annotated[int, Field(ge=1, le=MAX_LONG_PAGE)] = 100
