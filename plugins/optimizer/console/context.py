"""What a page is made from: the systems, Airflow's schedules, the visitor and the time."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NamedTuple, Protocol

from fastapi import Depends, HTTPException, Request

from optimizer.bidder.inspection import Inspector
from optimizer.console.access import Reader, Visitor
from optimizer.control_plane.audit import Author
from optimizer.control_plane.entity_outlines import KeptOutlines
from optimizer.runs.kept_what_ifs import KeptWhatIfs
from optimizer.runs.published_runs import PublishedRuns
from optimizer.runs.systems import Systems


@dataclass(frozen=True, slots=True)
class Schedule:
    """An entity's DAG as Airflow knows it.

    next_run_at: None where it is paused or has no schedule.
    running_task: the task of its DAG run in progress that runs now, None where none does.
    """

    next_run_at: datetime | None = None
    is_paused: bool = False
    running_task: str | None = None


@dataclass(frozen=True, slots=True)
class TaskTime:
    """A task of a DAG run: Airflow's word for its state, and when its latest try began and ended."""

    task_id: str
    state: str | None
    started_at: datetime | None
    ended_at: datetime | None
    tries: int = 1


class Scheduler(Protocol):
    """What the console asks the server that mounts it."""

    def schedules(self, entity_codes: Collection[str]) -> Mapping[str, Schedule]:
        """Return the schedules by entity code; a DAG that is not known is left out."""

    def task_times(self, dag_id: str, dag_run_id: str) -> Sequence[TaskTime]:
        """Return the tasks of a DAG run, in the order in which they began; none where the run is not known."""


class Connected(NamedTuple):
    """What is opened once, at the first request."""

    systems: Systems
    inspector: Inspector
    what_ifs: KeptWhatIfs
    outlines: KeptOutlines


@dataclass(frozen=True, slots=True)
class Context:
    """A request: who asks, when, and where the answers are.

    published: the runs that were read last, kept in memory.
    """

    systems: Systems
    inspector: Inspector
    what_ifs: KeptWhatIfs
    outlines: KeptOutlines
    scheduler: Scheduler
    visitor: Visitor
    now: datetime
    published: PublishedRuns

    def author(self, comment: str) -> Author:
        """Return the visitor as the author of a change.

        Raises:
            HTTPException: 422, the comment is empty.
        """
        if not comment.strip():
            raise HTTPException(422, "the comment is empty; write why you make this change, the audit keeps it")
        return Author(self.visitor.name, comment=comment.strip())


def _context(request: Request, visitor: Reader) -> Context:
    connect: Callable[[], Connected] = request.app.state.connect
    state = request.app.state
    return Context(*connect(), state.scheduler, visitor, state.clock(), state.published)


Asked = Annotated[Context, Depends(_context)]
