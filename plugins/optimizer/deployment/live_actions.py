"""What follows from live numbers: a canary is promoted or rolled back, a run below target is reported."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

from optimizer.control_plane import canary_splits, rollbacks
from optimizer.control_plane.alerts import Incident
from optimizer.control_plane.audit import system
from optimizer.control_plane.canaries import plan_of
from optimizer.control_plane.records import Canary, Deployment, Run
from optimizer.control_plane.rollbacks import RollbackPlan
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.performance import Finding, overall
from optimizer.core.live.spend_guard import Overspend
from optimizer.deployment.served_files import file_problem
from optimizer.deployment.serving_snapshots import update_after_change
from optimizer.errors import DeploymentError, SplitChanged
from optimizer.runs.systems import Systems

log = logging.getLogger(__name__)

ALERT_KINDS = (
    *("forecast_unreadable", "no_bids", "below_forecast", "below_control"),
    *("canary_paused", "canary_undecided", "rollback_exhausted", "change_refused", "split_mismatch"),
    "spend_guard",
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
    overspend: what of its last whole day was above its forecast by more than max_overspend, or None.
    """

    deployment: Deployment
    live_days: int
    days: tuple[date, ...]
    findings: tuple[Finding, ...]
    control_id: str | None
    is_beside_control: bool
    control_findings: tuple[Finding, ...]
    problem: str | None
    overspend: Overspend | None = None

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


@dataclass(frozen=True, slots=True)
class LiveSituation:
    """What the split is decided on.

    runs: the active ones, as measured. canary: the run that is tried, running or paused, or None.
    split_problem: how the traffic is not split as deployed, or None. While it lasts, nothing is changed that a
        comparison of runs would decide.
    control: the entity's pinned control, which bids what was usual before the optimizer, or None.
    """

    runs: Sequence[LiveRun]
    canary: Canary | None = None
    split_problem: Incident | None = None
    control: Run | None = None


def act(
    entity_code: str, situation: LiveSituation, *, settings: RunSettings, systems: Systems, now: datetime
) -> Outcome:
    """Change the split where the live numbers say so, on the very split that they were measured on."""
    found, canary, split_problem = situation.runs, situation.canary, situation.split_problem
    outcome = Outcome(alerts=[] if split_problem is None else [split_problem])
    tried = None if canary is None else next((run for run in found if run.run_id == canary.run_id), None)
    for run in found:
        if run.problem:
            outcome.alert("forecast_unreadable", f"entity {entity_code}: {run.problem}", subject=run.run_id)
        # Beside a canary that does better the other run has nothing to be blamed for.
        beside_control = run.blamed if tried is None else run.control_findings if run is tried else ()
        outcome.alerts += _complaints(entity_code, run, beside_control=beside_control)
    seen = tuple(run.deployment.deployment_id for run in found)
    change = _Change(entity_code, systems, seen, now, outcome, control_pct=settings.control_pct)
    if any(run.overspend is not None for run in found):
        _guard_spend(found, situation.control, change)
        return outcome
    if split_problem is not None:
        return outcome
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
    control_pct: int

    def move(self, canary: Canary, *, to_step: int | None, why: str) -> None:
        """Give the canary the share of a step; None: all the traffic but the control's."""
        self._make(
            partial(
                canary_splits.move_canary,
                self.systems.engine,
                canary,
                entity_code=self.entity_code,
                to_step=to_step,
                now=self.now,
                seen=self.seen,
                control_pct=self.control_pct,
            ),
            why=why,
        )

    def pause(self, canary: Canary, *, why: str) -> None:
        """Leave the canary at its step until a person decides."""
        canary_splits.pause_canary(
            self.systems.engine, entity_code=self.entity_code, author=system(MONITOR, comment=why), now=self.now
        )
        self.ask(canary, why=why)

    def ask(self, canary: Canary, *, why: str) -> None:
        """Report a canary that the monitor paused; it waits for a person."""
        code = self.entity_code
        self.outcome.alert(
            "canary_paused",
            f"entity {code}: {why}; run {canary.run_id} is paused at step {canary.step}: `optimizer canary {code} "
            f"resume` lets it go on, `optimizer canary {code} abort` takes it off",
            subject=canary.run_id,
        )

    def roll_back(self, worse: Collection[str], *, why: str) -> None:
        """Go back to the nearest earlier split without the worse runs that can be served, or else to the control."""
        try:
            plan = self.plan_without(worse, or_control=True)
        except DeploymentError as refused:
            self.outcome.alert("change_refused", f"{refused} ({why})")
            return
        self.go_back(plan.split, why=why)
        self.outcome.actions += plan.skipped

    def plan_without(self, worse: Collection[str], *, or_control: bool = False) -> RollbackPlan:
        """Return the way back to the nearest earlier split that has none of the worse runs and can be served.

        Args:
            or_control: where there is none, all traffic goes to the control.

        Raises:
            DeploymentError: there is no way back.
        """
        return rollbacks.plan_rollback(
            self.systems.engine,
            self.entity_code,
            without=worse,
            problem_of=partial(file_problem, store=self.systems.store),
            or_control=or_control,
        )

    def go_back(self, split: Mapping[str, int], *, why: str) -> bool:
        """Deploy the split as a rollback; return whether it is live."""
        return self._make(
            partial(
                rollbacks.restore_split,
                self.systems.engine,
                entity_code=self.entity_code,
                split=split,
                author=system(MONITOR, comment=why),
                now=self.now,
                seen=self.seen,
            ),
            why=why,
        )

    def _make(self, deploy: Callable[[], list[Deployment]], *, why: str) -> bool:
        try:
            active = deploy()
        except SplitChanged as changed:
            self.outcome.actions.append(f"nothing was done: {changed}")
            return False
        except DeploymentError as refused:
            self.outcome.alert("change_refused", f"{refused} ({why})")
            return False
        live = ", ".join(f"run {row.run_id} {row.traffic_pct} %" for row in active)
        self.outcome.actions.append(f"entity {self.entity_code}: {why}: now live {live}")
        systems = self.systems
        late = update_after_change(self.entity_code, engine=systems.engine, store=systems.store, now=self.now)
        if late is not None:
            log.warning("%s", late)
        return True


def _decide_canary(canary: Canary, run: LiveRun, change: _Change) -> None:
    """Take the canary back, pause it, or give it its next share; a paused one waits for a person."""
    verdict, tried = overall(run.decisive), f"run {canary.run_id}, tried on {run.traffic_pct} % of the traffic,"
    below = {finding.figure for finding in run.decisive if finding.verdict == "below target"}
    step, steps = canary.step, plan_of(canary).steps
    is_over = steps[step - 1].days is not None and change.now >= step_end(canary)
    if canary.status == "paused":
        change.outcome.actions.append(f"entity {change.entity_code}: {tried} is paused by {canary.changed_by}")
        if canary.changed_by == system(MONITOR).name:
            change.ask(canary, why=canary.reason or f"{tried} is below target")
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
            f"entity {change.entity_code}: {tried} is not decided after {PATIENCE.days} days, and no other run can be "
            f"tried meanwhile; `optimizer deploy {change.entity_code} {canary.run_id}=100` gives it all traffic, "
            f"`optimizer canary {change.entity_code} abort` none",
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
            f"entity {change.entity_code}: auto_rollback went back to {names}, which is below target too; it goes back "
            f"only once. Start a new run, or choose a split with `optimizer deploy {change.entity_code} RUN=100`",
        )
        return
    change.roll_back([run.run_id for run in worse], why=f"auto_rollback: {names} is below target")


def _guard_spend(found: Sequence[LiveRun], pinned_control: Run | None, change: _Change) -> None:
    """Take the runs off that overspent: back to the nearest earlier split without them, or else to the control."""
    costly = {run.run_id: _say_overspend(run, run.overspend) for run in found if run.overspend is not None}
    why = "; ".join(costly.values())
    try:
        plan = change.plan_without(costly)
        split, skipped, done = plan.split, plan.skipped, "The last good split is live again"
    except DeploymentError as refused:
        problem = _control_problem(pinned_control, costly, change)
        if pinned_control is None or problem is not None:
            change.outcome.alert(
                "spend_guard",
                f"entity {change.entity_code}: {why}. Nothing was changed: {refused}; {problem}. Deploy a run that "
                "bids less, or stop the bidder for this client",
            )
            return
        split, skipped, done = {pinned_control.run_id: 100}, (), "The control has all the traffic now"
    if not change.go_back(split, why=f"spend guard: {why}"):
        done = f"The split was not replaced; `optimizer deployments {change.entity_code}` shows what is live"
    elif any(run.deployment.is_pinned and run.deployment.source != "control" for run in found):
        done += (
            ", though the other one was pinned. Scheduled runs may replace the new split; "
            f"`optimizer pin {change.entity_code}` keeps it"
        )
    change.outcome.actions += skipped
    change.outcome.alert("spend_guard", f"entity {change.entity_code}: {why}. {done}")


def _control_problem(control: Run | None, worse: Collection[str], change: _Change) -> str | None:
    """Why the control cannot get the traffic, or None."""
    if control is None:
        return "the entity has no control"
    if control.run_id in worse:
        return f"the control, run {control.run_id}, overspends too"
    return file_problem(control, store=change.systems.store)


def _say_overspend(run: LiveRun, found: Overspend) -> str:
    what, unit = ("a CPM", "") if found.figure == "cpm" else ("a spend", " currency units")
    return (
        f"run {run.run_id} ({run.traffic_pct} % of the traffic) had {what} of {found.measured:.2f}"
        f"{unit} on the last whole day, {found.ratio:.1f} times its forecast of {found.forecast:.2f} (95 %: at least "
        f"{found.ratio_low:.1f} times)"
    )


def _complaints(entity_code: str, run: LiveRun, *, beside_control: Sequence[Finding]) -> list[Incident]:
    head = f"entity {entity_code}: run {run.run_id} ({run.traffic_pct} % of the traffic)"
    against: list[tuple[str, Sequence[Finding]]] = [("forecast", run.findings)]
    if run.control_id is not None:
        against.append((f"control, run {run.control_id}", beside_control))
    complaints = []
    if run.live_days and not run.days:
        text = (
            f"{head} was live on {run.live_days} days, but the warehouse has none of its bids; check that the bidder "
            "has loaded it (`/health`), and that the warehouse is loaded"
        )
        complaints.append(Incident("no_bids", text, run.run_id))
    for what, findings in against:
        worse = [f"{finding.figure} {finding.reason}" for finding in findings if finding.verdict == "below target"]
        if worse:
            kind = "below_forecast" if what == "forecast" else "below_control"
            complaints.append(Incident(kind, f"{head} is below its {what}: {'; '.join(worse)}", run.run_id))
    return complaints
