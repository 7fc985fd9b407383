"""The client for asyncio: what `TrackingClient` does, awaited."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel
from tenacity import AsyncRetrying

from optimization_tracking.client import calls
from optimization_tracking.client.calls import Answer, Call, Fields, RunId
from optimization_tracking.client.forking import ForkAware
from optimization_tracking.client.retrying import ATTEMPTS, policy
from optimization_tracking.client.settings import ClientSettings
from optimization_tracking.models.analytics import Analytics, Project
from optimization_tracking.models.answers import Health, Page
from optimization_tracking.models.comparing import RunGroups, Trend
from optimization_tracking.models.iterations import CreateIteration, Iteration
from optimization_tracking.models.queries import MAX_LONG_PAGE, MAX_PAGE
from optimization_tracking.models.runs import CreateRun, Run, RunWithIterations, UpdateRun
from optimization_tracking.models.samples import CreateSample, Sample

Item = TypeVar("Item", bound=BaseModel)


class AsyncTrackingClient(ForkAware):
    """Requests to the tracking API; see `TrackingClient`, whose errors and names it has, also in a forked process."""

    def __init__(self, settings: ClientSettings, *, attempts: int = ATTEMPTS) -> None:
        self.settings = settings
        self._attempts = attempts
        self._http = httpx.AsyncClient(**calls.http_options(settings))
        self._is_inherited = False  # the pool is that of the process that this one was forked from
        self.watch_forks()

    @classmethod
    def from_environment(cls, **options: Any) -> Self:
        """Return a client of the service that the environment names."""
        return cls(ClientSettings.from_environment(), **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if not self._is_inherited:
            await self._http.aclose()

    def after_fork(self, *, is_child: bool) -> None:
        """Let the child open a pool of its own, as `TrackingClient` does."""
        if is_child:
            self._is_inherited = not self._http.is_closed

    async def create_run(
        self, run_name: str, *, optimizer_type: str, idempotency_key: str | None = None, **fields: Any
    ) -> Run:
        """Return the new run; the same key gives the same run, as long as it exists."""
        fields |= {"run_name": run_name, "optimizer_type": optimizer_type}
        return (await self._send(calls.create_run(calls.given(CreateRun, fields), key=idempotency_key))).data

    async def read_run(self, run_id: RunId, **detail: Any) -> RunWithIterations:
        """Return a run with its first iterations."""
        return (await self._send(calls.read_run(run_id, detail))).data

    async def list_runs(self, **filters: Any) -> Page[RunWithIterations]:
        """Return a page of runs, newest first."""
        return await self._send(calls.list_runs(filters))

    def iterate_runs(self, **filters: Any) -> AsyncIterator[RunWithIterations]:
        """Yield every run that the filters match."""
        start = {"limit": MAX_PAGE, "include_total": False, **filters}
        return self._pages(lambda cursor: calls.list_runs({**start, **cursor}))

    async def top_runs(self, *, limit: int = 10, **filters: Any) -> list[RunWithIterations]:
        """Return the best completed runs of one direction, best first."""
        start = {"top": True, "limit": limit, **filters}
        best: list[RunWithIterations] = []
        async for run in self._pages(lambda cursor: calls.list_runs({**start, **cursor})):
            best.append(run)
            if len(best) == limit:
                break
        return best

    async def update_run(self, run_id: RunId, **changes: Any) -> Run:
        """Return the run after the change; None clears a value."""
        return (await self._send(calls.update_run(run_id, calls.write(calls.given(UpdateRun, changes))))).data

    async def delete_run(self, run_id: RunId) -> None:
        """Delete a run with its iterations and samples."""
        await self._send(calls.delete_run(run_id))

    async def add_iterations(self, run_id: RunId, iterations: Iterable[Fields | CreateIteration]) -> int:
        """Add up to 1,000 iterations, all or none, and return their number."""
        return (await self._send(calls.add_iterations(run_id, calls.batch_of(CreateIteration, iterations)))).created

    async def add_samples(self, run_id: RunId, samples: Iterable[Fields | CreateSample]) -> int:
        """Add up to 1,000 samples, all or none, and return their number."""
        return (await self._send(calls.add_samples(run_id, calls.batch_of(CreateSample, samples)))).created

    async def read_iteration(self, run_id: RunId, iteration: int) -> Iteration:
        """Return one iteration of a run."""
        return (await self._send(calls.read_iteration(run_id, iteration))).data

    def iterate_iterations(self, run_id: RunId) -> AsyncIterator[Iteration]:
        """Yield the run's iterations by their number."""
        return self._pages(lambda cursor: calls.list_iterations(run_id, {"limit": MAX_LONG_PAGE, **cursor}))

    def iterate_samples(self, run_id: RunId, **filters: Any) -> AsyncIterator[Sample]:
        """Yield the run's samples by iteration and index; filters: iteration, is_correct."""
        start = {"limit": MAX_LONG_PAGE, **filters}
        return self._pages(lambda cursor: calls.list_samples(run_id, {**start, **cursor}))

    async def analytics(self, **filters: Any) -> list[Analytics]:
        """Return the project's figures by optimizer type and status, as of the service's last refresh."""
        return [one async for one in self._pages(lambda cursor: calls.analytics({**filters, **cursor}))]

    async def group_runs(self, *, by: str, **filters: Any) -> RunGroups:
        """Return runs in groups, with a paired test where `pair_by` says what pairs them."""
        return (await self._send(calls.groups({"by": by, **filters}))).data

    async def read_trend(self, **filters: Any) -> Trend:
        """Return one figure from run to run, with the band that was expected of each."""
        return (await self._send(calls.trend(filters))).data

    async def list_projects(self) -> list[Project]:
        """Return the projects that the key sees."""
        return [one async for one in self._pages(calls.list_projects)]

    async def health(self) -> Health:
        """Return what the service says of itself."""
        return await self._send(calls.health())

    async def send(self, call: Call[Answer]) -> Answer:
        """Return the answer to one request, sent once."""
        if self._is_inherited:
            self._http, self._is_inherited = httpx.AsyncClient(**calls.http_options(self.settings)), False
        try:
            response = await self._http.request(
                call.method, call.path, params=list(call.params), content=call.body, headers=call.headers
            )
        except httpx.HTTPError as error:
            raise calls.no_answer(self.settings, error) from error
        return calls.read_answer(call, response)

    async def _send(self, call: Call[Answer]) -> Answer:
        return await AsyncRetrying(**policy(is_repeatable=call.is_repeatable, attempts=self._attempts))(self.send, call)

    async def _pages(self, call_after: Callable[[Fields], Call[Page[Item]]]) -> AsyncIterator[Item]:
        page = await self._send(call_after({}))
        for item in page.data:
            yield item
        while (cursor := page.pagination.next_cursor) is not None:
            page = await self._send(call_after({"cursor": cursor}))
            for item in page.data:
                yield item
