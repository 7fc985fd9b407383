"""What follows from live numbers: a canary goes on or back, a run that is surely worse is reported and may go back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import Engine

from optimizer.control_plane import deployments
from optimizer.control_plane.promotions import AUTOMATIC_PREFIX
from optimizer.control_plane.records import Deployment
from optimizer.control_plane.splits import WHOLE_PCT, canary_of
from optimizer.core.live import Finding, overall
from optimizer.core.settings import RunSettings
from optimizer.errors import DeploymentError, SplitChanged

DEPLOYED_BY = f"{AUTOMATIC_PREFIX}monitor"

PATIENCE = timedelta(days=14)
"""A canary that is not decided after this time is reported: it keeps later runs from being tried."""


@dataclass(frozen=True, slots=True)
class LiveRun:
    """An active run with what was found of it.

    days, last_day, sums: what it was judged by; sums are bids, wins and clicks.
    rival_id: the run with the largest other share of the traffic, or None where the run is alone.
    problem: why its promise is not known, or None.
    """

    deployment: Deployment
    days: int
    last_day: date | None
    sums: Mapping[str, float]
    findings: tuple[Finding, ...]
    rival_id: str | None
    rival_findings: tuple[Finding, ...]
    problem: str | None

    @property
    def run_id(self) -> str:
        return self.deployment.run_id

    @property
    def traffic_pct(self) -> int:
        return self.deployment.traffic_pct

    @property
    def decisive(self) -> tuple[Finding, ...]:
        """The findings that count: against the rival, who had the same market, where there is one."""
        return self.findings if self.rival_id is None else self.rival_findings


@dataclass(slots=True)
class Outcome:
    """What was done, and what a person should look at."""

    actions: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)


def act(entity_code: str, found: Sequence[LiveRun], *, settings: RunSettings, engine: Engine, now: datetime) -> Outcome:
    """Change the split where the live numbers say so, on the very split that they were measured on."""
    outcome = Outcome()
    canary = next(
        (run for run in found if len(found) > 1 and canary_of(run.deployment.deployed_by) == run.run_id), None
    )
    for run in found:
        if run.problem:
            outcome.alerts.append(f"entity {entity_code}: {run.problem}")
        # Beside a canary that does better the other run has nothing to be blamed for.
        is_measured = canary is None or run is canary
        outcome.alerts += _complaints(entity_code, run, beside_rival=is_measured)
    change = _Change(entity_code, engine, tuple(run.deployment.deployment_id for run in found), now, outcome)
    if canary is not None:
        _decide_canary(canary, change)
    elif settings.auto_rollback:
        _take_back([run for run in found if overall(run.decisive) == "worse"], change)
    return outcome


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of the split that was measured; one that came too late, or may not be, is said and not made."""

    entity_code: str
    engine: Engine
    seen: tuple[int, ...]
    now: datetime
    outcome: Outcome

    def deploy_whole(self, run_id: str, *, why: str) -> None:
        self._make({run_id: WHOLE_PCT}, why=why)

    def roll_back(self, *, why: str) -> None:
        try:
            plan = deployments.plan_rollback(self.engine, self.entity_code)
        except DeploymentError as refused:
            self.outcome.alerts.append(f"{refused} ({why})")
        else:
            self._make(plan.split, why=why)

    def _make(self, split: Mapping[str, int], *, why: str) -> None:
        try:
            active = deployments.deploy(
                self.engine,
                entity_code=self.entity_code,
                split=split,
                deployed_by=DEPLOYED_BY,
                now=self.now,
                seen=self.seen,
            )
        except SplitChanged as changed:
            self.outcome.actions.append(f"nothing was done: {changed}")
        except DeploymentError as refused:
            self.outcome.alerts.append(f"{refused} ({why})")
        else:
            live = ", ".join(f"run {row.run_id} {row.traffic_pct} %" for row in active)
            self.outcome.actions.append(f"entity {self.entity_code}: {why}: now live {live}")


def _decide_canary(canary: LiveRun, change: _Change) -> None:
    verdict, tried = overall(canary.decisive), f"run {canary.run_id}, tried on {canary.traffic_pct} % of the traffic,"
    if verdict == "holds":
        change.deploy_whole(canary.run_id, why=f"{tried} holds")
    elif verdict == "worse":
        change.roll_back(why=f"{tried} is surely worse")
    elif change.now - canary.deployment.deployed_at > PATIENCE:
        change.outcome.alerts.append(
            f"entity {change.entity_code}: {tried} is not decided after {PATIENCE.days} days and keeps later runs from "
            "being tried; give it all the traffic or none with `optimizer deploy`"
        )


def _take_back(worse: Sequence[LiveRun], change: _Change) -> None:
    """Go back to the split before, if it leaves one of these runs less traffic than now."""
    if not worse:
        return
    try:
        target = deployments.plan_rollback(change.engine, change.entity_code).split
    except DeploymentError as refused:
        change.outcome.alerts.append(str(refused))
        return
    helped = [run for run in worse if target.get(run.run_id, 0) < run.traffic_pct]
    if helped:
        names = ", ".join(f"run {run.run_id}" for run in helped)
        change.roll_back(why=f"auto_rollback: {names} is surely worse")


def _complaints(entity_code: str, run: LiveRun, *, beside_rival: bool) -> list[str]:
    head = f"entity {entity_code}: run {run.run_id} ({run.traffic_pct} % of the traffic)"
    against = [("than it promised", run.findings)]
    if beside_rival:
        against.append((f"than its rival, run {run.rival_id}", run.rival_findings))
    complaints = []
    for what, findings in against:
        worse = [f"{finding.figure} {finding.reason}" for finding in findings if finding.verdict == "worse"]
        if worse:
            complaints.append(f"{head} is surely worse {what}: {'; '.join(worse)}")
    return complaints
