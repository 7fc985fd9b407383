"""What follows from live numbers: a canary is promoted or rolled back, a run below target is reported."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

from optimizer.control_plane import deployments
from optimizer.control_plane.alerts import Incident
from optimizer.control_plane.audit import system
from optimizer.control_plane.canaries import plan_of
from optimizer.control_plane.records import Canary, Deployment
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.performance import Finding, overall
from optimizer.deployment.served_files import file_problem
from optimizer.errors import DeploymentError, SplitChanged
from optimizer.runs.systems import Systems

ALERT_KINDS = (
    *("forecast_unreadable", "no_bids", "below_forecast", "below_control"),
    *("canary_paused", "canary_undecided", "rollback_exhausted", "change_refused"),
)
"""The kinds of incidents that a look at the live runs opens and closes."""

MONITOR = "monitor"
"""The part of the system that these changes are made by."""

SIGNALS = ("ctr",)
"""Figures that a run's bids do not set: below target, they pause a canary at its step. The others take it back."""

LOOK_SLACK = timedelta(hours=1)

PATIENCE = timedelta(days=14)
"""A canary that is not decided after this time is reported: it keeps later runs from being tried."""


@dataclass(frozen=True, slots=True)
class LiveRun:
    """An active run with what was found of it.

    live_days: on how many days it was live.
    days: what it was judged by, the days with bids, in order.
    control_id: the run that it is compared with: the one with the largest other share of the traffic, or None where the
        run is alone.
    is_beside_control: that run is the entity's control.
    problem: why its forecast is not known, or None.
    """

    deployment: Deployment
    live_days: int
    days: tuple[date, ...]
    findings: tuple[Finding, ...]
    control_id: str | None
    is_beside_control: bool
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
        """The findings that count: against the other run, which had the same market, where there is one.

        The control's share is small: a figure that it cannot decide is decided by the forecast.
        """
        if self.control_id is None:
            return self.findings
        if not self.is_beside_control:
            return self.control_findings
        by_forecast = {finding.figure: finding for finding in self.findings}
        return tuple(
            by_forecast[found.figure] if found.verdict == "inconclusive" else found for found in self.control_findings
        )

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
    alerts: list[Incident] = field(default_factory=list)

    def alert(self, kind: str, message: str, *, subject: str = "") -> None:
        """Note what a person should look at."""
        self.alerts.append(Incident(kind, message, subject))


def act(
    entity_code: str,
    found: Sequence[LiveRun],
    *,
    canary: Canary | None,
    settings: RunSettings,
    systems: Systems,
    now: datetime,
) -> Outcome:
    """Change the split where the live numbers say so, on the very split that they were measured on.

    Args:
        canary: the run that is tried, running or paused, or None.
    """
    outcome = Outcome()
    tried = None if canary is None else next((run for run in found if run.run_id == canary.run_id), None)
    for run in found:
        if run.problem:
            outcome.alert("forecast_unreadable", f"entity {entity_code}: {run.problem}", subject=run.run_id)
        # Beside a canary that does better the other run has nothing to be blamed for.
        beside_control = run.blamed if tried is None else run.control_findings if run is tried else ()
        outcome.alerts += _complaints(entity_code, run, beside_control=beside_control)
    change = _Change(entity_code, systems, tuple(run.deployment.deployment_id for run in found), now, outcome)
    if canary is not None and tried is not None:
        _decide_canary(canary, tried, change)
    elif settings.auto_rollback:
        _take_back([run for run in found if run.blamed], change)
    return outcome


@dataclass(slots=True)
class _Change:
    """A change of the split that was measured; one that came too late, or may not be, is said and not made."""

    entity_code: str
    systems: Systems
    seen: tuple[int, ...]
    now: datetime
    outcome: Outcome

    def move(self, canary: Canary, *, to_step: int | None, why: str) -> None:
        """Give the canary the share of a step; None: all the traffic but the control's."""
        self._make(
            partial(
                deployments.move_canary,
                self.systems.engine,
                canary,
                entity_code=self.entity_code,
                to_step=to_step,
                now=self.now,
                seen=self.seen,
            ),
            why=why,
        )

    def pause(self, canary: Canary, *, why: str) -> None:
        """Leave the canary at its step until a person decides."""
        deployments.pause_canary(
            self.systems.engine, entity_code=self.entity_code, author=system(MONITOR, comment=why), now=self.now
        )
        code = self.entity_code
        self.outcome.alert(
            "canary_paused",
            f"entity {code}: {why}; run {canary.run_id} is paused at step {canary.step}: `optimizer canary {code} "
            f"resume` lets it go on, `optimizer canary {code} abort` takes it off",
            subject=canary.run_id,
        )

    def roll_back(self, worse: Collection[str], *, why: str) -> None:
        """Go back to the nearest earlier split that has none of the worse runs and can be served."""
        problem_of = partial(file_problem, store=self.systems.store)
        try:
            plan = deployments.plan_rollback(
                self.systems.engine, self.entity_code, without=worse, problem_of=problem_of
            )
        except DeploymentError as refused:
            self.outcome.alert("change_refused", f"{refused} ({why})")
            return
        self._make(
            partial(
                deployments.deploy,
                self.systems.engine,
                entity_code=self.entity_code,
                split=plan.split,
                author=system(MONITOR, comment=why),
                source="rollback",
                now=self.now,
                seen=self.seen,
            ),
            why=why,
        )
        self.outcome.actions += plan.skipped

    def _make(self, deploy: Callable[[], list[Deployment]], *, why: str) -> None:
        try:
            active = deploy()
        except SplitChanged as changed:
            self.outcome.actions.append(f"nothing was done: {changed}")
        except DeploymentError as refused:
            self.outcome.alert("change_refused", f"{refused} ({why})")
        else:
            live = ", ".join(f"run {row.run_id} {row.traffic_pct} %" for row in active)
            self.outcome.actions.append(f"entity {self.entity_code}: {why}: now live {live}")


def _decide_canary(canary: Canary, run: LiveRun, change: _Change) -> None:
    """Take the canary back, pause it, or give it its next share; a paused one waits for a person."""
    verdict, tried = overall(run.decisive), f"run {canary.run_id}, tried on {run.traffic_pct} % of the traffic,"
    below = {finding.figure for finding in run.decisive if finding.verdict == "below target"}
    step, steps = canary.step, plan_of(canary).steps
    is_over = steps[step - 1].days is not None and change.now >= step_end(canary)
    if canary.status == "paused":
        change.outcome.actions.append(f"entity {change.entity_code}: {tried} is paused by {canary.changed_by}")
    elif below - set(SIGNALS):
        change.roll_back([canary.run_id], why=f"{tried} is below target")
    elif below:
        change.pause(canary, why=f"{tried} is below target in {', '.join(sorted(below))}")
    elif step < len(steps) and is_over and not run.problem:
        change.move(canary, to_step=step + 1, why=f"{tried} has had step {step} of {len(steps)}")
    elif step == len(steps) and (is_over or steps[-1].days is None) and verdict == "on target" and not run.problem:
        change.move(canary, to_step=None, why=f"{tried} is on target")
    elif change.now - canary.step_started_at > PATIENCE:
        change.outcome.alert(
            "canary_undecided",
            f"entity {change.entity_code}: {tried} is not decided after {PATIENCE.days} days and keeps later runs from "
            "being tried; give it all the traffic or none with `optimizer deploy`",
            subject=canary.run_id,
        )


def step_end(canary: Canary) -> datetime:
    """Return when the days of the canary's step are over; of a step without an end, when it began."""
    days = plan_of(canary).steps[canary.step - 1].days
    # The monitor looks once a day: a step that began just after its time of yesterday has had its day.
    return canary.step_started_at + timedelta(days=days or 0) - LOOK_SLACK


def _take_back(worse: Sequence[LiveRun], change: _Change) -> None:
    if not worse:
        return
    names = ", ".join(f"run {run.run_id}" for run in worse)
    # It goes back once and not on: where that run misses its forecast too, the market has changed, and older bids would
    # not help.
    if any(run.deployment.source == "rollback" for run in worse):
        change.outcome.alert(
            "rollback_exhausted",
            f"entity {change.entity_code}: auto_rollback has gone back to {names} and goes no further; run the entity "
            "again, or choose a split with `optimizer deploy`",
        )
        return
    change.roll_back([run.run_id for run in worse], why=f"auto_rollback: {names} is below target")


def _complaints(entity_code: str, run: LiveRun, *, beside_control: Sequence[Finding]) -> list[Incident]:
    head = f"entity {entity_code}: run {run.run_id} ({run.traffic_pct} % of the traffic)"
    against: list[tuple[str, Sequence[Finding]]] = [("forecast", run.findings)]
    if run.control_id is not None:
        against.append((f"control, run {run.control_id}", beside_control))
    complaints = []
    if run.live_days and not run.days:
        text = (
            f"{head} was live on {run.live_days} days of which the warehouse has none of its bids; look whether the "
            "bidder has loaded it, and whether the warehouse is loaded"
        )
        complaints.append(Incident("no_bids", text, run.run_id))
    for what, findings in against:
        worse = [f"{finding.figure} {finding.reason}" for finding in findings if finding.verdict == "below target"]
        if worse:
            kind = "below_forecast" if what == "forecast" else "below_control"
            complaints.append(Incident(kind, f"{head} is below its {what}: {'; '.join(worse)}", run.run_id))
    return complaints
