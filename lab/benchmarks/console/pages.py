"""How long the server takes for each page of a fleet, and how many statements it sends."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import Engine, event

from lab.benchmarks.console.fleet import Fleet
from lab.benchmarks.console.published import PublishedFleetRuns
from lab.benchmarks.figures import Figure
from lab.benchmarks.what_if import LONGEST_SECONDS
from optimizer.artifacts.store import ObjectStore
from optimizer.console.access import Visitor
from optimizer.console.answers.clients import PAGE_ROWS
from optimizer.console.app import create_app
from optimizer.console.context import Schedule, TaskTime
from optimizer.runs.systems import Systems

BOUND_S = 0.3
SHARE = 0.95
SLOW_REPEATS = 20
COLD_REPEATS = 3


@dataclass(frozen=True, slots=True)
class MeasuredPage:
    """A page's address, the statements that it may send, and whether it reads all segments of a run."""

    address: str
    statements: int
    reads_segments: bool = False


PAGES: Mapping[str, MeasuredPage] = {
    "clients": MeasuredPage("/", 12),
    "clients, searched": MeasuredPage("/?search=0042", 12),
    "clients, one state": MeasuredPage("/?state=off target", 12),
    "clients, last page": MeasuredPage("/?page={last_page}", 12),
    "overview": MeasuredPage("/clients/{code}", 16),
    "runs": MeasuredPage("/clients/{code}/runs", 4),
    "settings": MeasuredPage("/clients/{code}/settings", 8),
    "split": MeasuredPage("/clients/{code}/split", 20),
    "split, at a time": MeasuredPage("/clients/{code}/split?at=2026-03-03T15:00&history=250", 22),
    "funnel": MeasuredPage("/clients/{code}/funnel", 5),
}
"""Pages that read the control plane alone."""

WHAT_IF = "what-if"

RUN_PAGES: Mapping[str, MeasuredPage] = {
    "run": MeasuredPage("/runs/{later}", 9),
    "run, figures": MeasuredPage("/runs/{later}/figures", 9),
    "run, segments": MeasuredPage("/runs/{later}/segments?search=r42", 4, reads_segments=True),
    "overview, spend": MeasuredPage("/clients/{code}/spend", 6, reads_segments=True),
    "compare": MeasuredPage("/clients/{code}/compare?earlier={earlier}&later={later}", 8, reads_segments=True),
    "split, preview": MeasuredPage(
        "/clients/{code}/split/preview?pct.{later}=60&pct.{earlier}=40", 24, reads_segments=True
    ),
    WHAT_IF: MeasuredPage("/clients/{code}/what-if?target_win_rate=0.35", 16, reads_segments=True),
}
"""Pages that read what runs published, too."""


@dataclass(frozen=True, slots=True)
class PageCost:
    """A page's seconds at the 95th percentile, and the statements of one request.

    processor_seconds: median of what the console's own process computes for a request, all its threads together.
    cold_seconds: of the first request of a new server; None for pages that keep nothing.
    """

    name: str
    seconds: float
    processor_seconds: float
    statements: int
    cold_seconds: float | None = None


class _NoSchedules:
    def schedules(self, entity_codes: Collection[str]) -> Mapping[str, Schedule]:
        return {}

    def task_times(self, dag_id: str, dag_run_id: str) -> Sequence[TaskTime]:
        return []


@dataclass(frozen=True, slots=True)
class Pages:
    """The console of a fleet, whose pages are asked for."""

    engine: Engine
    store: ObjectStore
    fleet: Fleet
    repeats: int

    def measure(self) -> list[PageCost]:
        """Return what each page costs that reads the control plane alone.

        Raises:
            RuntimeError: a page does not answer with 200.
        """
        last_page = -(-self.fleet.entities // PAGE_ROWS)
        return asyncio.run(self._measure(PAGES, code=self.fleet.example, last_page=str(last_page)))

    def measure_runs(self, runs: PublishedFleetRuns) -> list[PageCost]:
        """Return what each page costs that reads the published runs, too; raises as `measure`."""
        named = {"later": runs.later, "earlier": runs.earlier}
        return asyncio.run(self._measure(RUN_PAGES, code=self.fleet.example, **named))

    async def _measure(self, pages: Mapping[str, MeasuredPage], **names: str) -> list[PageCost]:
        app = self._app()
        return [await self._cost(app, name, page, page.address.format(**names)) for name, page in pages.items()]

    async def _cost(self, app: FastAPI, name: str, page: MeasuredPage, address: str) -> PageCost:
        await _ask(app, address)  # the first answer also compiles the template and the statements
        with _counting(self.engine) as counted:
            await _ask(app, address)
        statements = counted()
        repeats = min(self.repeats, SLOW_REPEATS) if page.reads_segments else self.repeats
        asked = [await _ask(app, address) for _ in range(repeats)]
        cold = [await _ask(self._app(), address) for _ in range(COLD_REPEATS if page.reads_segments else 0)]
        return PageCost(
            name,
            sorted(one.seconds for one in asked)[min(int(SHARE * repeats), repeats - 1)],
            median(one.processor_seconds for one in asked),
            statements,
            cold_seconds=median(one.seconds for one in cold) if cold else None,
        )

    def _app(self) -> FastAPI:
        async def log_in(_: object) -> Visitor:
            return Visitor("bench", readable=set, writable=set)

        def connect_warehouse() -> None:
            raise RuntimeError("no page of the benchmark reads the warehouse")

        return create_app(
            connect=lambda: Systems(self.engine, self.store, connect_warehouse),
            login=log_in,
            scheduler=_NoSchedules(),
            clock=lambda: self.fleet.now,
        )


def figures_of(costs: Sequence[PageCost], *, segments: int) -> list[Figure]:
    """Return each cost beside its bound; what a new server takes for its first answer has none."""
    known = {**PAGES, **RUN_PAGES}
    slider = LONGEST_SECONDS[min((size for size in LONGEST_SECONDS if size >= segments), default=max(LONGEST_SECONDS))]
    bounds = {one.name: slider if one.name == WHAT_IF else BOUND_S for one in costs}
    timed = [
        Figure(f"{one.name}, p95", one.seconds, bounds[one.name], "what a page may take", "s", 1.0) for one in costs
    ]
    computed = [
        Figure(f"{one.name}, processor time", one.processor_seconds, one.seconds, "its p95", "s") for one in costs
    ]
    cold = [
        Figure(f"{one.name}, cold", one.cold_seconds, one.seconds, "its p95", "s")
        for one in costs
        if one.cold_seconds is not None
    ]
    counted = [
        Figure(f"{one.name}, statements", one.statements, known[one.name].statements, "the page's budget", "rows", 1.0)
        for one in costs
    ]
    return timed + computed + cold + counted


class _Taken(NamedTuple):
    seconds: float
    processor_seconds: float


async def _ask(app: FastAPI, path: str) -> _Taken:
    """Ask for a page and return the time that it took."""
    async with AsyncClient(transport=ASGITransport(app), base_url="http://console") as client:
        started, computed = perf_counter(), process_time()
        answer = await client.get(path)
        taken = _Taken(perf_counter() - started, process_time() - computed)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answers {answer.status_code}: {answer.text[-400:]}")
    return taken


@contextmanager
def _counting(engine: Engine) -> Iterator[Callable[[], int]]:
    sent = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("SET", "SELECT 1", "BEGIN")):
            sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield lambda: len(sent)
    finally:
        event.remove(engine, "before_cursor_execute", note)
