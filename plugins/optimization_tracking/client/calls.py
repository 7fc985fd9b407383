"""The requests of the API and what their answers mean, without sending anything: both clients share them."""

import json
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
from pydantic import BaseModel, ValidationError

from optimization_tracking.client.plain_values import plain
from optimization_tracking.client.settings import ClientSettings
from optimization_tracking.models.analytics import Analytics, Project
from optimization_tracking.models.answers import Batch, Health, One, Page, Problem
from optimization_tracking.models.comparing import GroupFilters, RunGroups, Trend, TrendFilters
from optimization_tracking.models.iterations import CreateIteration, Iteration
from optimization_tracking.models.queries import (
    AnalyticsFilters,
    IterationPage,
    RunDetail,
    RunFilters,
    SamplePage,
    ShortRowsPage,
)
from optimization_tracking.models.runs import (
    CreateRun,
    DeletedRun,
    HoldRun,
    Lease,
    ReleasedLease,
    Run,
    RunWithIterations,
)
from optimization_tracking.models.samples import CreateSample, Sample
from optimizer.errors import TrackingRefused, UnavailableError
from optimizer.names import TRACKING_API_URL_VARIABLE

Answer = TypeVar("Answer", bound=BaseModel)
Model = TypeVar("Model", bound=BaseModel)
RunId = UUID | str
Listed = Literal["runs", "iterations", "samples"]
Fields = Mapping[str, Any]

_FILTERS: dict[str, type[BaseModel]] = {"runs": RunFilters, "iterations": IterationPage, "samples": SamplePage}

_LATER = frozenset({408, 425, 429})
"""Refusals of the moment: the same request may be taken later."""

_WITHOUT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: without TLS nobody needs the certificates that httpx reads, which takes as long as many requests."""

_FOREIGN = f"the answer is not one of the tracking API; check {TRACKING_API_URL_VARIABLE}"


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request, and the model of its answer. `is_repeatable`: sending it twice does what sending it once does."""

    method: str
    path: str
    answer: type[Answer]
    params: Sequence[tuple[str, str]] = ()
    body: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True


def create_run(run: CreateRun, *, key: str | None = None) -> Call[One[Run]]:
    return post_run(write(run), key=key)


def post_run(body: str, *, key: str | None = None) -> Call[One[Run]]:
    return post("/runs", body, One[Run], key=key)


def list_runs(filters: Fields) -> Call[Page[RunWithIterations]]:
    return Call("GET", "/runs", Page[RunWithIterations], query(RunFilters, filters))


def read_run(run_id: RunId, detail: Fields) -> Call[One[RunWithIterations]]:
    return Call("GET", f"/runs/{_segment(run_id)}", One[RunWithIterations], query(RunDetail, detail))


def update_run(run_id: RunId, changes: str, *, seen: Run | None = None) -> Call[One[Run]]:
    """Return the call of a change; `seen`: it is refused with 412 where the run is no longer in this version."""
    headers = {} if seen is None else {"If-Match": seen.etag}
    return Call("PATCH", f"/runs/{_segment(run_id)}", One[Run], body=changes, headers=headers)


def delete_run(run_id: RunId) -> Call[One[DeletedRun]]:
    return Call("DELETE", f"/runs/{_segment(run_id)}", One[DeletedRun], is_repeatable=False)


def hold_run(run_id: RunId, owner: str, *, seconds: int) -> Call[One[Lease]]:
    return Call("PUT", _lease(run_id, owner), One[Lease], body=write(HoldRun(seconds=seconds)))


def release_run(run_id: RunId, owner: str) -> Call[One[ReleasedLease]]:
    return Call("DELETE", _lease(run_id, owner), One[ReleasedLease])


def add_iterations(run_id: RunId, bodies: Iterable[str], *, key: str | None = None) -> Call[Batch[Iteration]]:
    body = f'{{"iterations":[{",".join(bodies)}]}}'
    return post(f"/runs/{_segment(run_id)}/iterations/batch", body, Batch[Iteration], key=key, is_minimal=True)


def add_samples(run_id: RunId, bodies: Iterable[str], *, key: str | None = None) -> Call[Batch[Sample]]:
    body = f'{{"samples":[{",".join(bodies)}]}}'
    return post(f"/runs/{_segment(run_id)}/samples", body, Batch[Sample], key=key, is_minimal=True)


def list_iterations(run_id: RunId, page: Fields) -> Call[Page[Iteration]]:
    return Call("GET", f"/runs/{_segment(run_id)}/iterations", Page[Iteration], query(IterationPage, page))


def read_iteration(run_id: RunId, iteration: int) -> Call[One[Iteration]]:
    return Call("GET", f"/runs/{_segment(run_id)}/iterations/{iteration}", One[Iteration])


def list_samples(run_id: RunId, page: Fields) -> Call[Page[Sample]]:
    return Call("GET", f"/runs/{_segment(run_id)}/samples", Page[Sample], query(SamplePage, page))


def list_plain(what: Listed, filters: Fields, *, run_id: RunId | None) -> Call[Page[dict[str, Any]]]:
    """Return the call of a list whose rows stay dictionaries."""
    path = "/runs" if run_id is None else f"/runs/{_segment(run_id)}/{what}"
    return Call("GET", path, Page[dict[str, Any]], query(_FILTERS[what], filters))


def analytics(filters: Fields) -> Call[Page[Analytics]]:
    return Call("GET", "/analytics", Page[Analytics], query(AnalyticsFilters, filters))


def groups(filters: Fields) -> Call[One[RunGroups]]:
    return Call("GET", "/groups", One[RunGroups], query(GroupFilters, filters))


def trend(filters: Fields) -> Call[One[Trend]]:
    return Call("GET", "/trend", One[Trend], query(TrendFilters, filters))


def list_projects(page: Fields) -> Call[Page[Project]]:
    return Call("GET", "/projects", Page[Project], query(ShortRowsPage, page))


def health() -> Call[Health]:
    return Call("GET", "/health", Health)


def post(
    path: str, body: str, answer: type[Answer], *, key: str | None = None, is_minimal: bool = False
) -> Call[Answer]:
    """Return a POST that happens once however often it is sent: it carries an Idempotency-Key, a new one by default."""
    headers = {"Idempotency-Key": key or uuid4().hex, **({"Prefer": "return=minimal"} if is_minimal else {})}
    return Call("POST", path, answer, body=body, headers=headers)


def given(model: type[Model], fields: Fields) -> Model:
    """Return the model of what a caller gives by its names in snake_case, NumPy's scalars and arrays among it.

    Raises:
        TrackingRefused: names each field that is wrong, without its value.
    """
    try:
        values = plain(fields)
    except ValueError as error:
        raise TrackingRefused(f"{model.__name__}: {error}") from None
    try:
        return model.model_validate(values, by_name=True, by_alias=False)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in error.errors())
        raise TrackingRefused(f"{model.__name__} does not match the API: {'; '.join(problems)}") from None


def write(model: BaseModel, *, fallback: Callable[[Any], Any] | None = None) -> str:
    """Return the JSON of what was given, and of nothing else.

    Args:
        fallback: returns what is written for a value that JSON does not have.

    Raises:
        TrackingRefused: a value is not JSON, and there is no fallback.
    """
    try:
        return model.model_dump_json(by_alias=True, exclude_unset=True, fallback=fallback)
    except ValueError:
        raise TrackingRefused(f"{type(model).__name__} holds a value that cannot be written as JSON") from None


def batch_of(model: type[CreateIteration] | type[CreateSample], rows: Iterable[Fields | BaseModel]) -> list[str]:
    """Return each row's JSON."""
    return [write(row if isinstance(row, model) else given(model, dict(row))) for row in rows]


def query(model: type[BaseModel], fields: Fields) -> list[tuple[str, str]]:
    """Return the parameters of a query string."""
    chosen = given(model, fields).model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    pairs = []
    for name, value in chosen.items():
        for item in value if isinstance(value, list) else [value]:
            pairs.append((name, item if isinstance(item, str) else json.dumps(item)))
    return pairs


def http_options(settings: ClientSettings) -> dict[str, Any]:
    """Return what both kinds of httpx client are made with."""
    headers = {"Authorization": f"Bearer {settings.key}", "Content-Type": "application/json"}
    options = {"base_url": settings.base_url, "headers": headers, "timeout": settings.timeout_s}
    return options | ({"verify": _WITHOUT_TLS} if settings.base_url.startswith("http:") else {})


def no_answer(settings: ClientSettings, error: httpx.HTTPError) -> UnavailableError:
    """Return what a request means that got no answer."""
    return UnavailableError(f"the tracking service at {settings.base_url} does not answer ({type(error).__name__})")


def read_answer(call: Call[Answer], response: httpx.Response) -> Answer:
    """Return the answer's model.

    What is not an answer of the API, such as a proxy's page, says nothing of the request: the service is then away.

    Raises:
        UnavailableError: the service cannot work now, the key asks too often, or something else answers.
        TrackingRefused: it will not do this, with its own reasons.
    """
    status = response.status_code
    text = f"tracking: {call.method} {call.path}: {status}"
    if response.is_success:
        try:
            return call.answer.model_validate_json(response.content)
        except ValidationError:
            raise UnavailableError(f"{text} {_FOREIGN}") from None
    problem = _problem(response)
    text = f"{text} {response.reason_phrase}: {_FOREIGN}" if problem is None else f"{text} {_reasons(problem)}"
    if problem is not None and response.is_client_error and status not in _LATER:
        raise TrackingRefused(text, status=status)
    after = response.headers.get("Retry-After", "")
    raise UnavailableError(text, retry_after_s=float(after) if after.isdecimal() else None)


def _problem(response: httpx.Response) -> Problem | None:
    """Return the service's own problem, None where something else answered."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return None
    return problem if problem.status == response.status_code else None


def _reasons(problem: Problem) -> str:
    return "; ".join([problem.detail, *(f"{error.field}: {error.reason}" for error in problem.errors[:5])])


def _lease(run_id: RunId, owner: str) -> str:
    return f"/runs/{_segment(run_id)}/leases/{_segment(owner)}"


def _segment(run_id: RunId) -> str:
    return quote(str(run_id), safe="")
