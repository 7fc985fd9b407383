"""Two runs of a client compared: which is better, by how much money, how sure that is, and what changed."""

from datetime import datetime

from fastapi import HTTPException
from pydantic import BaseModel

from optimizer.console.answers.compare_bids import ServedChanges, served_changes_of
from optimizer.console.answers.compare_evidence import Evidence, ForecastChange, changes_of_forecasts, evidence_of
from optimizer.console.answers.run import OwnedRun, find_run
from optimizer.console.answers.run_forecast import numbers_of
from optimizer.console.context import Context
from optimizer.control_plane.live_records import read_verdicts
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.control_plane.records import Run
from optimizer.control_plane.run_views import newest_comparable, read_days_of, read_live_run_id
from optimizer.core.pricing.run_comparison import Comparison

CHOICES = 60
"""How many of the newest runs can be chosen."""


class ComparableRun(BaseModel):
    """A run that can be compared."""

    run_id: str
    created_at: datetime
    outcome: str | None
    is_dry_run: bool
    is_live: bool


class CompareAnswer(BaseModel):
    """Two runs compared.

    comparison: what `optimizer diff` says.
    verdicts: figures that were measured while both were live, the later run against the earlier one.
    served: None where the segment keys differ.
    """

    entity_code: str
    earlier: str
    later: str
    live_run_id: str | None
    evidence: list[Evidence]
    forecasts: list[ForecastChange]
    verdicts: list[LiveVerdict]
    comparison: Comparison
    served: ServedChanges | None


class Pair(BaseModel):
    """The runs to compare, and those that could be. None where there are not two."""

    earlier: str | None
    later: str | None
    choices: list[ComparableRun]


def choose_pair(asked: Context, entity_code: str, *, earlier: str = "", later: str = "") -> Pair:
    """Return the runs to compare: as asked, else the newest run against the live one, or the one before it."""
    engine = asked.systems.engine
    newest, live = newest_comparable(engine, entity_code, limit=CHOICES), read_live_run_id(engine, entity_code)
    ids = [run.run_id for run in newest]
    later = later or next((one for one in ids if one != earlier), "")
    if not earlier:
        older = ids[ids.index(later) + 1 :] if later in ids else ids
        earlier = live if live and live != later else next(iter(older), "")
    return Pair(
        earlier=earlier or None,
        later=later if earlier else None,
        choices=[_choice(run, live) for run in newest],
    )


def compare(asked: Context, entity_code: str, *, earlier: str, later: str, page: int = 1) -> CompareAnswer:
    """Return what changed from the earlier run to the later one.

    Raises:
        HTTPException: 404, the client has no such run.
        RunStateError, ArtifactError, UnavailableError: one of them cannot be read.
    """
    before, after = (_of_client(asked, run_id, entity_code) for run_id in (earlier, later))
    store, engine = asked.systems.store, asked.systems.engine
    pair = asked.published.compare(before.row, after.row, store=store)
    metrics = [asked.published.figures(one.row, store=store).metrics for one in (before, after)]
    forecasts = changes_of_forecasts(numbers_of(before.row, metrics[0]), numbers_of(after.row, metrics[1]))
    days = read_days_of(engine, before.row.entity_id, (earlier, later))
    return CompareAnswer(
        entity_code=entity_code,
        earlier=earlier,
        later=later,
        live_run_id=read_live_run_id(engine, entity_code),
        evidence=evidence_of(days, metrics[1], forecasts, before=before.row, after=after.row),
        forecasts=forecasts,
        verdicts=[
            found
            for found in read_verdicts(engine, entity_code)
            if (found.run_id, found.control_run_id, found.compared_with) == (later, earlier, "split")
        ],
        comparison=pair.comparison,
        served=served_changes_of(pair, asked, before.row, after.row, page=page),
    )


def _of_client(asked: Context, run_id: str, entity_code: str) -> OwnedRun:
    found = find_run(asked, run_id)
    if found.entity_code != entity_code:
        raise HTTPException(404, f"client {entity_code} has no run {run_id!r}")
    return found


def _choice(run: Run, live: str | None) -> ComparableRun:
    return ComparableRun(
        run_id=run.run_id,
        created_at=run.created_at,
        outcome=run.outcome,
        is_dry_run=run.is_dry_run,
        is_live=run.run_id == live,
    )
