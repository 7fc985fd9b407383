"""A small client of Airflow's REST API: what the command line and the tests ask of it."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import httpx

from optimizer.errors import ConfigError, RunStateError, UnavailableError

FINISHED_STATES = ("success", "failed")

_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task instance of a DAG run; `state` is None before it is scheduled, times are UTC."""

    task_id: str
    state: str | None
    try_number: int
    duration_s: float | None
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class DagImportError:
    """A file in the DAG folder that could not be read."""

    filename: str
    stack_trace: str


@dataclass(frozen=True, slots=True)
class RegisteredDag:
    """A DAG that Airflow has; it is stale where the last parse of its file did not build it."""

    dag_id: str
    is_paused: bool
    is_stale: bool
    has_import_errors: bool


class AirflowApi:
    """Airflow's REST API as one user, who is logged in on the first request and again when the token ends.

    Every method raises UnavailableError where Airflow is silent, ConfigError where it refuses the login or the
    request, and RunStateError if the object does not exist or already exists.
    """

    def __init__(self, url: str, *, user: str, password: str, token: str | None = None, timeout_s: float = 30) -> None:
        """Connect on the first request.

        Args:
            token: of an earlier login, used until Airflow refuses it.
        """
        self._user, self._password = user, password
        # No proxy: Airflow is on this machine.
        self._http = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False)
        if token is not None:
            self._use(token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> dict[str, str | None]:
        """Return {component: status} of metadatabase, scheduler, triggerer and dag_processor; needs no login."""
        health = self._checked(self._send("GET", "/api/v2/monitor/health")).json()
        return {name: (component or {}).get("status") for name, component in health.items()}

    def execution_health(self) -> str:
        """Return the status of the API that tasks use; needs no login. The first answer of a server takes seconds."""
        return str(self._checked(self._send("GET", "/execution/health")).json()["status"])

    def wait_for_dag(self, dag_id: str, *, timeout_s: float) -> None:
        """Return once the DAG is registered and active.

        Raises:
            UnavailableError: it is not in time; the message holds the import errors.
        """
        deadline = time.monotonic() + timeout_s
        while not self._is_active(dag_id):
            if time.monotonic() > deadline:
                errors = "; ".join(f"{error.filename}: {error.stack_trace[-300:]}" for error in self.import_errors())
                reason = f"import errors: {errors}" if errors else "no file failed to import; is its entity active?"
                raise UnavailableError(f"DAG {dag_id} is not registered after {timeout_s:.0f} s; {reason}")
            time.sleep(_POLL_S)

    def list_dags(self, *, prefix: str, page_rows: int = 100) -> list[RegisteredDag]:
        """Return the DAGs whose dag_id begins so, stale ones included, sorted by dag_id; a request for each page.

        Args:
            page_rows: at most 100, unless Airflow's `maximum_page_limit` says otherwise.
        """
        found: dict[str, RegisteredDag] = {}
        wanted = {"dag_id_prefix_pattern": prefix, "exclude_stale": False, "order_by": "dag_id", "limit": page_rows}
        offset, total = 0, 1
        while offset < total:
            page = self.request("GET", "/dags", params={**wanted, "offset": offset})
            for row in page["dags"]:
                flags = (row["is_paused"], row["is_stale"], row["has_import_errors"])
                found[row["dag_id"]] = RegisteredDag(row["dag_id"], *flags)
            # A site may give fewer rows a page than were asked for; one that gives none would be asked forever.
            offset, total = offset + len(page["dags"]), page["total_entries"] if page["dags"] else 0
        return sorted((dag for dag in found.values() if dag.dag_id.startswith(prefix)), key=lambda dag: dag.dag_id)

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs be scheduled."""
        self.request("PATCH", f"/dags/{_quoted(dag_id)}", json={"is_paused": False})

    def trigger(self, dag_id: str, *, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its dag_run_id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self.request("POST", f"/dags/{_quoted(dag_id)}/dagRuns", json=body)["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> str:
        """Return the run's state: queued, running, success or failed."""
        return str(self.request("GET", _run_path(dag_id, run_id))["state"])

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout_s: float) -> str:
        """Return the state in which the run ended.

        Raises:
            UnavailableError: it still runs after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while (state := self.dag_run(dag_id, run_id)) not in FINISHED_STATES:
            if time.monotonic() > deadline:
                raise UnavailableError(f"run {run_id} of {dag_id} is still {state} after {timeout_s:.0f} s")
            time.sleep(_POLL_S)
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return the run's task instances, in the order in which they began."""
        page = self.request("GET", _run_path(dag_id, run_id) + "/taskInstances", params={"limit": 1000})
        states = [_task_state(row) for row in page["task_instances"]]
        return sorted(states, key=lambda state: (state.start is None, state.start, state.task_id))

    def clear(self, dag_id: str, run_id: str, *, task_ids: list[str]) -> None:
        """Run the tasks again in any state, and all tasks after them."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": task_ids, "only_failed": False}
        body |= {"include_downstream": True, "reset_dag_runs": True}
        self.request("POST", f"/dags/{_quoted(dag_id)}/clearTaskInstances", json=body)

    def mark_failed(self, dag_id: str, run_id: str) -> None:
        """End the run as a user does by marking it failed."""
        self.request("PATCH", _run_path(dag_id, run_id), json={"state": "failed"})

    def ensure_pool(self, name: str, *, slots: int) -> None:
        """Make the pool if it is missing; one that exists keeps the slots that a user gave it."""
        if self._send_with_login("GET", f"/pools/{_quoted(name)}").status_code == httpx.codes.NOT_FOUND:
            self.request("POST", "/pools", json={"name": name, "slots": slots})

    def pool_slots(self, name: str) -> int:
        """Return how many slots the pool has."""
        return int(self.request("GET", f"/pools/{_quoted(name)}")["slots"])

    def import_errors(self) -> list[DagImportError]:
        """Return the DAG files that cannot be imported."""
        rows = self.request("GET", "/importErrors", params={"limit": 100})["import_errors"]
        return [DagImportError(row["filename"], row["stack_trace"]) for row in rows]

    def request(self, method: str, path: str, **content: Any) -> Any:
        """Return the JSON of a request that has no method of its own here.

        Args:
            path: below /api/v2.
            content: as httpx takes it: json, params.
        """
        return self._checked(self._send_with_login(method, path, **content)).json()

    def _is_active(self, dag_id: str) -> bool:
        response = self._send_with_login("GET", f"/dags/{_quoted(dag_id)}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return False
        return not self._checked(response).json()["is_stale"]

    def _send_with_login(self, method: str, path: str, **content: Any) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            self._log_in()
        response = self._send(method, f"/api/v2{path}", **content)
        # Airflow 3.3 answers 403, not 401, to a token that has ended.
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            self._log_in()
            response = self._send(method, f"/api/v2{path}", **content)
        return response

    def _log_in(self) -> None:
        body = {"username": self._user, "password": self._password}
        response = self._send("POST", "/auth/token", json=body)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise ConfigError(f"Airflow at {self._http.base_url} refused the password of {self._user}")
        self._use(self._checked(response).json()["access_token"])

    def _use(self, token: str) -> None:
        self._http.headers["Authorization"] = f"Bearer {token}"

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **content)
        except httpx.TransportError as error:
            raise UnavailableError(f"Airflow at {self._http.base_url} does not answer: {error}") from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        request, code = response.request, response.status_code
        message = f"Airflow answered {code} to {request.method} {request.url.path}: {response.text[:500]}"
        if response.is_server_error:
            raise UnavailableError(message)
        raise (RunStateError if code in (404, 409) else ConfigError)(message)


def _task_state(row: dict[str, Any]) -> TaskState:
    return TaskState(
        task_id=row["task_id"],
        state=row["state"],
        try_number=row["try_number"],
        duration_s=row["duration"],
        start=_parsed_time(row["start_date"]),
        end=_parsed_time(row["end_date"]),
    )


def _parsed_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}"


def _quoted(name: str) -> str:
    return quote(name, safe="")
