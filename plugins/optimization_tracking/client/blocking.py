"""The client for ordinary code: each method is one request and returns what the service answered."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel
from tenacity import Retrying

from optimization_tracking.client import calls
from optimization_tracking.client.calls import Answer, Call, Fields, Listed, RunId
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


class TrackingClient(ForkAware):
    """Requests to the tracking API, over one pool of connections; threads may share it.

    A process that is forked has a pool of its own, unless `http` was given.

    A service that is silent is asked again a few times, then UnavailableError is raised; what it refuses is raised as
    TrackingRefused. Fields and filters have the API's names in snake_case.
    """

    def __init__(self, settings: ClientSettings, *, attempts: int = ATTEMPTS, http: httpx.Client | None = None) -> None:
        self.settings = settings
        self._attempts = attempts
        self._http = http
        self._is_closed = False
        self._opening = threading.Lock()
        if http is None:
            with suppress(OSError):  # the process may open no more files; the first request tries again
                self._open()  # not in a thread: this imports modules, and the program may fork meanwhile
            self.watch_forks()

    @classmethod
    def from_environment(cls, **options: Any) -> Self:
        """Return a client of the service that the environment names; see `ClientSettings.from_environment`."""
        return cls(ClientSettings.from_environment(), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._is_closed = True
        if self._http is not None:
            self._http.close()

    def after_fork(self, *, is_child: bool) -> None:
        """Let the child open a pool of its own; two processes on one connection would read each other's answers."""
        if is_child:
            self._http, self._opening = None, threading.Lock()

    def create_run(
        self, run_name: str, *, optimizer_type: str, idempotency_key: str | None = None, **fields: Any
    ) -> Run:
        """Return the new run; the same key gives the same run, as long as it exists."""
        fields |= {"run_name": run_name, "optimizer_type": optimizer_type}
        return self._send(calls.create_run(calls.given(CreateRun, fields), key=idempotency_key)).data

    def read_run(self, run_id: RunId, **detail: Any) -> RunWithIterations:
        """Return a run with its first iterations."""
        return self._send(calls.read_run(run_id, detail)).data

    def list_runs(self, **filters: Any) -> Page[RunWithIterations]:
        """Return a page of runs, newest first; the filters are those of GET /runs."""
        return self._send(calls.list_runs(filters))

    def iterate_runs(self, **filters: Any) -> Iterator[RunWithIterations]:
        """Yield every run that the filters match."""
        start = {"limit": MAX_PAGE, "include_total": False, **filters}
        return self._pages(lambda cursor: calls.list_runs({**start, **cursor}))

    def top_runs(self, *, limit: int = 10, **filters: Any) -> list[RunWithIterations]:
        """Return the best completed runs of one direction, best first."""
        start = {"top": True, "limit": limit, **filters}
        return list(islice(self._pages(lambda cursor: calls.list_runs({**start, **cursor})), limit))

    def update_run(self, run_id: RunId, **changes: Any) -> Run:
        """Return the run after the change; None clears a value."""
        return self._send(calls.update_run(run_id, calls.write(calls.given(UpdateRun, changes)))).data

    def delete_run(self, run_id: RunId) -> None:
        """Delete a run with its iterations and samples."""
        self._send(calls.delete_run(run_id))

    def add_iterations(self, run_id: RunId, iterations: Iterable[Fields | CreateIteration]) -> int:
        """Add up to 1,000 iterations, all or none, and return their number."""
        return self._send(calls.add_iterations(run_id, calls.batch_of(CreateIteration, iterations))).created

    def add_samples(self, run_id: RunId, samples: Iterable[Fields | CreateSample]) -> int:
        """Add up to 1,000 samples, all or none, and return their number."""
        return self._send(calls.add_samples(run_id, calls.batch_of(CreateSample, samples))).created

    def read_iteration(self, run_id: RunId, iteration: int) -> Iteration:
        """Return one iteration of a run."""
        return self._send(calls.read_iteration(run_id, iteration)).data

    def iterate_iterations(self, run_id: RunId) -> Iterator[Iteration]:
        """Yield the run's iterations by their number."""
        return self._pages(lambda cursor: calls.list_iterations(run_id, {"limit": MAX_LONG_PAGE, **cursor}))

    def iterate_samples(self, run_id: RunId, **filters: Any) -> Iterator[Sample]:
        """Yield the run's samples by iteration and index; filters: iteration, is_correct."""
        start = {"limit": MAX_LONG_PAGE, **filters}
        return self._pages(lambda cursor: calls.list_samples(run_id, {**start, **cursor}))

    def pages_of(self, what: Listed, run_id: RunId | None = None, **filters: Any) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a list as the API's JSON has them, page by page, without a model for each.

        Args:
            run_id: whose iterations or samples; runs have none.
            filters: those of the list.
        """
        limit = MAX_PAGE if what == "runs" else MAX_LONG_PAGE
        start = {"limit": limit, **({"include_total": False} if what == "runs" else {}), **filters}
        page = self._send(calls.list_plain(what, start, run_id=run_id))
        yield page.data
        while (cursor := page.pagination.next_cursor) is not None:
            page = self._send(calls.list_plain(what, {**start, "cursor": cursor}, run_id=run_id))
            yield page.data

    def analytics(self, **filters: Any) -> list[Analytics]:
        """Return the project's figures by optimizer type and status, as of the service's last refresh."""
        return list(self._pages(lambda cursor: calls.analytics({**filters, **cursor})))

    def group_runs(self, *, by: str, **filters: Any) -> RunGroups:
        """Return runs in groups, with a paired test where `pair_by` says what pairs them; as GET /groups."""
        return self._send(calls.groups({"by": by, **filters})).data

    def read_trend(self, **filters: Any) -> Trend:
        """Return one figure from run to run, with the band that was expected of each; as GET /trend."""
        return self._send(calls.trend(filters)).data

    def list_projects(self) -> list[Project]:
        """Return the projects that the key sees."""
        return list(self._pages(calls.list_projects))

    def health(self) -> Health:
        """Return what the service says of itself."""
        return self._send(calls.health())

    def send(self, call: Call[Answer]) -> Answer:
        """Return the answer to one request, sent once.

        Raises:
            UnavailableError, TrackingRefused: see `calls.read_answer`.
        """
        http = self._http or self._open()
        try:
            response = http.request(
                call.method, call.path, params=list(call.params), content=call.body, headers=call.headers
            )
        except httpx.HTTPError as error:
            raise calls.no_answer(self.settings, error) from error
        return calls.read_answer(call, response)

    def _open(self) -> httpx.Client:
        with self._opening:
            if self._is_closed:
                raise RuntimeError("the client is closed")
            self._http = self._http or httpx.Client(**calls.http_options(self.settings))
            return self._http

    def _send(self, call: Call[Answer]) -> Answer:
        retry = Retrying(**policy(is_repeatable=call.is_repeatable, attempts=self._attempts))
        answer: Answer = retry(self.send, call)
        return answer

    def _pages(self, call_after: Callable[[Fields], Call[Page[Item]]]) -> Iterator[Item]:
        page = self._send(call_after({}))
        yield from page.data
        while (cursor := page.pagination.next_cursor) is not None:
            page = self._send(call_after({"cursor": cursor}))
            yield from page.data
