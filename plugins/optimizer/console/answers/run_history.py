"""What happened to a run: its tasks, the traffic that it had, its live days."""

from datetime import date, datetime

from pydantic import BaseModel

from optimizer.console.context import Context
from optimizer.control_plane.live_rows import LiveDay
from optimizer.control_plane.records import Deployment, Run
from optimizer.control_plane.run_views import RunView


class Event(BaseModel):
    """Something that happened to the run. task_id: the task of the DAG run that did it."""

    at: datetime
    what: str
    by: str = ""
    comment: str = ""


class Step(BaseModel):
    """A task of the run's DAG run."""

    task_id: str
    state: str | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    tries: int


class Share(BaseModel):
    """Traffic that the run had or has."""

    traffic_pct: int
    since: datetime
    until: datetime | None
    by: str
    source: str
    comment: str


class Day(BaseModel):
    """What the run's bids brought on a UTC day, beside what it had forecast."""

    day: date
    traffic_pct: float | None
    bids: int
    wins: int
    win_rate: float | None
    cpm: float | None
    margin: float | None
    spend: float | None
    forecast_win_rate: float | None
    forecast_cpm: float | None
    forecast_margin: float | None


def events_of(view: RunView) -> list[Event]:
    """Return what happened to the run, in order of time."""
    row = view.run
    own = [
        (row.created_at, "created", row.triggered_by),
        (row.started_at, "started", ""),
        (row.completed_at, "failed" if row.status == "failed" else row.status_text, ""),
        (row.outputs_removed_at, "files removed", ""),
    ]
    events = [Event(at=at, what=what, by=by) for at, what, by in own if at is not None]
    events += [
        Event(at=change.occurred_at, what=change.action.replace("_", " "), by=change.actor, comment=change.comment)
        for change in view.changes
    ]
    for one in view.deployments:
        what = f"{one.traffic_pct} % of the traffic"
        events.append(Event(at=one.deployed_at, what=what, by=one.deployed_by, comment=one.comment))
        if one.deactivated_at is not None:
            events.append(Event(at=one.deactivated_at, what="no longer in this split"))
    return sorted(events, key=lambda event: event.at)


def steps_of(asked: Context, row: Run) -> list[Step]:
    """Return the tasks of the run's DAG run, none where it has no DAG run."""
    if row.dag_id is None or row.dag_run_id is None:
        return []
    return [
        Step(
            task_id=task.task_id,
            state=task.state,
            started_at=task.started_at,
            ended_at=task.ended_at,
            seconds=None
            if task.started_at is None or task.ended_at is None
            else (task.ended_at - task.started_at).total_seconds(),
            tries=task.tries,
        )
        for task in asked.scheduler.task_times(row.dag_id, row.dag_run_id)
    ]


def share_of(one: Deployment) -> Share:
    """Return a deployment as the traffic that the run had."""
    return Share(
        traffic_pct=one.traffic_pct,
        since=one.deployed_at,
        until=one.deactivated_at,
        by=one.deployed_by,
        source=one.source,
        comment=one.comment,
    )


def day_of(one: LiveDay) -> Day:
    """Return a live day with its rates."""
    revenue = (one.view_revenue or 0.0) + (one.click_revenue or 0.0)
    return Day(
        **one.model_dump(include={"day", "traffic_pct", "bids", "wins", "spend"}),
        **one.model_dump(include={"forecast_win_rate", "forecast_cpm", "forecast_margin"}),
        win_rate=one.wins / one.bids if one.bids else None,
        cpm=1000 * one.spend / one.wins if one.spend is not None and one.wins else None,
        margin=1 - one.spend / revenue if one.spend is not None and revenue > 0 else None,
    )
