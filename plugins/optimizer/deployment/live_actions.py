"""What follows from live numbers: a canary is promoted or rolled back, a run below target is reported."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

from optimizer.control_plane import deployments
from optimizer.control_plane.promotions import AUTOMATIC_PREFIX
from optimizer.control_plane.records import Deployment
from optimizer.control_plane.splits import WHOLE_PCT, canary_of
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.performance import Finding, overall
from optimizer.deployment.served_files import file_problem
from optimizer.errors import DeploymentError, SplitChanged
from optimizer.runs.systems import Systems

DEPLOYED_BY = f"{AUTOMATIC_PREFIX}monitor"
ROLLED_BACK_BY = f"{DEPLOYED_BY} auto_rollback"
"""deployed_by of a split that auto_rollback went back to. It goes back once and not on: where that run is worse than it
forecast, the market has changed, and older bids would not help."""

PATIENCE = timedelta(days=14)
"""A canary that is not decided after this time is reported: it keeps later runs from being tried."""


@dataclass(frozen=True, slots=True)
class LiveRun:
    """An active run with what was found of it.

    live_days: on how many days it was live.
    days, last_day, sums: what it was judged by, the days with bids; sums are bids, wins and clicks.
    control_id: the run with the largest other share of the traffic, or None where the run is alone.
    problem: why its forecast is not known, or None.
    """

    deployment: Deployment
    live_days: int
    days: int
    last_day: date | None
    sums: Mapping[str, float]
    findings: tuple[Finding, ...]
    control_id: str | None
    control_findings: tuple[Finding, ...]
    problem: str | None

    @property
    def run_id(self) -> str:
        return self.deployment.run_id

    @property
    def traffic_pct(self) -> int:
        return self.deployment.traffic_pct

    @property
    def decisive(self) -> tuple[Finding, ...]:
        """The findings that count: against the control, who had the same market, where there is one."""
        return self.findings if self.control_id is None else self.control_findings

    @property
    def blamed(self) -> tuple[Finding, ...]:
        """The decisive findings that are worse and not excused; none where its own forecast is not known.

        A run that meets its forecast is not blamed where the control misses its own and pays less because it wins less.
        """
        if self.problem is not None:
            return ()
        held = {finding.figure for finding in self.findings if finding.verdict == "on target"}
        return tuple(found for found in self.decisive if found.verdict == "below target" and found.figure not in held)


@dataclass(slots=True)
class Outcome:
    """What was done, and what a person should look at."""

    actions: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)


def act(
    entity_code: str, found: Sequence[LiveRun], *, settings: RunSettings, systems: Systems, now: datetime
) -> Outcome:
    """Change the split where the live numbers say so, on the very split that they were measured on."""
    outcome = Outcome()
    canary = next(
        (run for run in found if len(found) > 1 and canary_of(run.deployment.deployed_by) == run.run_id), None
    )
    for run in found:
        if run.problem:
            outcome.alerts.append(f"entity {entity_code}: {run.problem}")
        # Beside a canary that does better the other run has nothing to be blamed for.
        beside_control = run.blamed if canary is None else run.control_findings if run is canary else ()
        outcome.alerts += _complaints(entity_code, run, beside_control=beside_control)
    change = _Change(entity_code, systems, tuple(run.deployment.deployment_id for run in found), now, outcome)
    if canary is not None:
        _decide_canary(canary, change)
    elif settings.auto_rollback:
        _take_back([run for run in found if run.blamed], change)
    return outcome


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of the split that was measured; one that came too late, or may not be, is said and not made."""

    entity_code: str
    systems: Systems
    seen: tuple[int, ...]
    now: datetime
    outcome: Outcome

    def deploy_whole(self, run_id: str, *, why: str) -> None:
        """Give the run all the traffic."""
        self._make({run_id: WHOLE_PCT}, why=why, deployed_by=DEPLOYED_BY)

    def roll_back(self, worse: Collection[str], *, why: str, deployed_by: str = DEPLOYED_BY) -> None:
        """Go back to the nearest earlier split that has none of the worse runs and can be served."""
        problem_of = partial(file_problem, store=self.systems.store)
        try:
            plan = deployments.plan_rollback(
                self.systems.engine, self.entity_code, without=worse, problem_of=problem_of
            )
        except DeploymentError as refused:
            self.outcome.alerts.append(f"{refused} ({why})")
        else:
            self._make(plan.split, why=why, deployed_by=deployed_by)
            self.outcome.actions += plan.skipped

    def _make(self, split: Mapping[str, int], *, why: str, deployed_by: str) -> None:
        try:
            active = deployments.deploy(
                self.systems.engine,
                entity_code=self.entity_code,
                split=split,
                deployed_by=deployed_by,
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
    if verdict == "below target":
        change.roll_back([canary.run_id], why=f"{tried} is below target")
    elif verdict == "on target" and canary.problem is None:
        change.deploy_whole(canary.run_id, why=f"{tried} is on target")
    elif change.now - canary.deployment.deployed_at > PATIENCE:
        change.outcome.alerts.append(
            f"entity {change.entity_code}: {tried} is not decided after {PATIENCE.days} days and keeps later runs from "
            "being tried; give it all the traffic or none with `optimizer deploy`"
        )


def _take_back(worse: Sequence[LiveRun], change: _Change) -> None:
    if not worse:
        return
    names = ", ".join(f"run {run.run_id}" for run in worse)
    if any(run.deployment.deployed_by == ROLLED_BACK_BY for run in worse):
        change.outcome.alerts.append(
            f"entity {change.entity_code}: auto_rollback has gone back to {names} and goes no further; run the entity "
            "again, or choose a split with `optimizer deploy`"
        )
        return
    change.roll_back(
        [run.run_id for run in worse], why=f"auto_rollback: {names} is below target", deployed_by=ROLLED_BACK_BY
    )


def _complaints(entity_code: str, run: LiveRun, *, beside_control: Sequence[Finding]) -> list[str]:
    head = f"entity {entity_code}: run {run.run_id} ({run.traffic_pct} % of the traffic)"
    against: list[tuple[str, Sequence[Finding]]] = [("forecast", run.findings)]
    if run.control_id is not None:
        against.append((f"control, run {run.control_id}", beside_control))
    complaints = []
    if run.live_days and not run.days:
        complaints.append(
            f"{head} was live on {run.live_days} days of which the warehouse has none of its bids; look whether the "
            "bidder has loaded it, and whether the warehouse is loaded"
        )
    for what, findings in against:
        worse = [f"{finding.figure} {finding.reason}" for finding in findings if finding.verdict == "below target"]
        if worse:
            complaints.append(f"{head} is below its {what}: {'; '.join(worse)}")
    return complaints
