"""What the parts of a run are called in its field, and where else a run is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from optimization_tracking.models.runs import Run
from optimizer.names import CONSOLE_PREFIX, DASHBOARD_PATH, TRACKING_PREFIX


@dataclass(frozen=True, slots=True)
class Words:
    """The field's own words: of one step and one sample, of several, and what is predicted and observed."""

    step: str
    steps: str
    samples: str
    input: str
    correct: str
    wrong: str


_USUAL = Words("iteration", "iterations", "samples", "input", "correct", "wrong")
_OF_TYPE = {
    "rtb": Words("trial", "trials", "held-out segments", "segment", "within chance", "beyond chance"),
}


def words_of(run: Run) -> Words:
    """Return the words of the run's field."""
    return _OF_TYPE.get(run.optimizer_type, _USUAL)


@dataclass(frozen=True, slots=True)
class PageLink:
    """Where the run is shown elsewhere on this server. `leaves_frame`: it is a page of Airflow's own."""

    text: str
    address: str
    leaves_frame: bool = False


def links_of(run: Run, *, base: str) -> list[PageLink]:
    """Return where Airflow and the console show an optimizer run: its page, its report, its DAG run.

    Args:
        base: the path of these pages inside Airflow; anywhere else there is no such place.
    """
    if run.optimizer_type != "rtb":
        return []
    airflow = base.removesuffix(TRACKING_PREFIX + DASHBOARD_PATH)
    found = []
    if run_id := _text(run.metadata, "runId"):
        page = f"{airflow}{CONSOLE_PREFIX}/runs/{run_id}"
        found += [PageLink("Optimizer run", page), PageLink("Report", f"{page}/report")]
    dag_id, dag_run_id = _text(run.metadata, "dagId"), _text(run.metadata, "dagRunId")
    if dag_id and dag_run_id:
        found.append(PageLink("DAG run in Airflow", f"{airflow}/dags/{dag_id}/runs/{dag_run_id}", leaves_frame=True))
    return found


def _text(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name)
    return quote(value, safe="") if isinstance(value, str) else ""
