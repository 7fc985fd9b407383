"""Which runs the bidder serves: an entity's traffic, split over its completed runs and replaced as a whole."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from optimizer.control_plane import canaries
from optimizer.control_plane.audit import Author, system, write_audit
from optimizer.control_plane.engine import reading, transaction
from optimizer.control_plane.promotions import check_promotion
from optimizer.control_plane.records import Canary, Deployment, Run, Source, read_rows
from optimizer.control_plane.splits import Split, earlier_splits, group_splits, percents_of, with_share
from optimizer.control_plane.tables import deployments, entities, runs
from optimizer.core.live.canary_plan import CanaryPlan
from optimizer.errors import DeploymentError, PromotionRefused, SplitChanged, UnavailableError


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would do.

    split: {run_id: percent} to go back to.
    seen: ids of the deployments that are active now, for `deploy`.
    skipped: why nearer splits are passed over, one sentence each.
    """

    split: dict[str, int]
    seen: tuple[int, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Promotion:
    """A run that goes live without a person's word in the moment that it does.

    control_pct: share of the traffic that stays with the entity's control, percent.
    manual_split_days: how long a split that a person set is left alone.
    """

    run_id: str
    control_pct: int = 0
    manual_split_days: int = 0


@dataclass(frozen=True, slots=True)
class _Marks:
    """What the rows of a new split say of how they came about, and the action that the audit names."""

    author: Author
    source: Source
    action: str
    is_pinned: bool = False
    canary_run_id: str | None = None


Choose = Callable[[Connection, RowMapping, list[Deployment]], Mapping[str, int]]
"""Makes the new split, in the transaction that deploys it."""


def deploy(
    engine: Engine,
    *,
    entity_code: str,
    split: Mapping[str, int],
    author: Author,
    now: datetime,
    source: Source = "manual",
    is_pinned: bool = False,
    control_pct: int = 0,
    seen: Collection[int] | None = None,
) -> list[Deployment]:
    """Make `split` the entity's active one and return its deployments; the run with most traffic becomes active_run_id.

    A split that is active already is returned as it stands, so a retried task leaves no second row of history; it is
    pinned where that is asked for.

    Args:
        split: {run_id: percent of the entity's traffic}, whole percents above 0 that sum to 100.
        is_pinned: scheduled runs do not replace the split.
        control_pct: percents that the entity's control gets, if it has one that the split does not name; the split's
            runs share the rest. 0: the split as it is given.
        seen: ids of the active deployments on which the split was decided; None: whatever is active.

    Raises:
        DeploymentError: the entity or a run is unknown, a run has not completed or not passed its validation, or the
            percents are wrong; names all reasons together.
        SplitChanged: other deployments are active than those that were seen.
        UnavailableError: the database is silent, or another user deployed at the same moment.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        return _with_control(split, entity["control_run_id"], control_pct)

    marks = _Marks(author, source, "rollback" if source == "rollback" else "deploy", is_pinned)
    return _change(engine, choose, entity_code=entity_code, marks=marks, now=now, seen=seen)


def promote(
    engine: Engine, promotion: Promotion, *, entity_code: str, author: Author, now: datetime
) -> list[Deployment]:
    """Give a run all the traffic but the control's, as a scheduled run gets it, and return the deployments.

    Args:
        author: the person who approved the run, or the system.

    Raises:
        PromotionRefused: a newer run or a person came first, or the split is pinned.
        DeploymentError, UnavailableError: as `deploy`.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        return _with_control({promotion.run_id: 100}, entity["control_run_id"], promotion.control_pct)

    marks = _Marks(author, "scheduled", "promote")
    return _change(engine, choose, entity_code=entity_code, marks=marks, now=now, promotion=promotion)


def start_canary(
    engine: Engine, promotion: Promotion, *, entity_code: str, canary_plan: CanaryPlan, now: datetime
) -> list[Deployment]:
    """Give the run the first share of the plan, and the rest to the active runs as they shared it; nobody asked.

    The control keeps its share. Where nothing is live the rest goes to the control, or where there is none all traffic
    goes to the run.

    Raises:
        PromotionRefused: the run may not go live by itself, or another one is being tried already.
        DeploymentError, UnavailableError: as `deploy`.
    """
    run_id = promotion.run_id

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> dict[str, int]:
        tried = canaries.find_open(connection, entity["entity_id"])
        if tried is not None and tried.run_id != run_id and tried.run_id in percents_of(active):
            raise PromotionRefused(
                f"entity {entity_code}: run {run_id} does not go live by itself: run {tried.run_id} is being tried on "
                "a part of the traffic; wait for the monitor's verdict, or deploy by hand"
            )
        present, control = percents_of(active), entity["control_run_id"]
        if run_id in present:
            return present
        if not present and control is not None:
            present = {control: 100}
        return with_share(present, run_id=run_id, pct=canary_plan.steps[0].traffic_pct, fixed=control)

    def begin(connection: Connection, entity: RowMapping) -> None:
        active = percents_of(_read_active(connection, entity["entity_id"]))
        if len(active) == 1:
            return
        canaries.end_open(connection, entity["entity_id"], split=active, author=author, now=now)
        canaries.start(connection, entity["entity_id"], run_id=run_id, plan=canary_plan, author=author, now=now)

    author = system("canary")
    marks = _Marks(author, "canary", "start_canary", canary_run_id=run_id)
    return _change(engine, choose, entity_code=entity_code, marks=marks, now=now, promotion=promotion, then=begin)


def rollback(
    engine: Engine, *, entity_code: str, author: Author, now: datetime, seen: Collection[int] | None = None
) -> list[Deployment]:
    """Go back to the split before the present one, as `earlier_splits` orders them, and return its deployments.

    A split that may not be deployed any more is passed over.

    Raises:
        DeploymentError: the entity is unknown, or there is no earlier split that may be deployed; says why.
        SplitChanged, UnavailableError: as `deploy`.
    """

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        return _plan_rollback(connection, entity, active).split

    marks = _Marks(author, "manual" if author.is_person else "rollback", "rollback")
    return _change(engine, choose, entity_code=entity_code, marks=marks, now=now, seen=seen)


def set_pinned(engine: Engine, *, entity_code: str, is_pinned: bool, author: Author, now: datetime) -> list[Deployment]:
    """Pin the active split, so that scheduled runs do not replace it, or unpin it; return the active deployments.

    Raises:
        DeploymentError: the entity is unknown, or nothing of it is live.
    """
    with transaction(engine) as connection:
        entity = _find_entity(connection, entity_code, lock=True)
        active = _read_active(connection, entity["entity_id"])
        if not active:
            raise DeploymentError(f"entity {entity_code}: nothing is live; deploy a split first")
        _pin(connection, entity["entity_id"], active, is_pinned=is_pinned, author=author, now=now)
        return _read_active(connection, entity["entity_id"])


def set_control(engine: Engine, *, entity_code: str, run_id: str | None, author: Author, now: datetime) -> None:
    """Make a run the entity's control: it gets the control share from the next split on. None: no control.

    Raises:
        DeploymentError: the entity is unknown, or the run may not be deployed.
    """
    with transaction(engine) as connection:
        entity = _find_entity(connection, entity_code, lock=True)
        if run_id is not None:
            _check_split(connection, entity, split={run_id: 100})
        if run_id == entity["control_run_id"]:
            return
        is_this = entities.c.entity_id == entity["entity_id"]
        connection.execute(update(entities).where(is_this).values(control_run_id=run_id))
        before, after = ({"control_run_id": value} for value in (entity["control_run_id"], run_id))
        write_audit(
            connection,
            author,
            action="set_control",
            now=now,
            entity_id=entity["entity_id"],
            run_id=run_id,
            before=before,
            after=after,
        )


def move_canary(
    engine: Engine, canary: Canary, *, entity_code: str, to_step: int | None, now: datetime, seen: Collection[int]
) -> list[Deployment]:
    """Take the running canary to a step of its plan; None: the whole traffic but the control's. Return the deployments.

    Raises:
        SplitChanged: a person paused, ended or moved it, or changed the split, since it was looked at.
        DeploymentError, UnavailableError: as `deploy`.
    """
    author, run_id = system("monitor"), canary.run_id

    def choose(connection: Connection, entity: RowMapping, active: list[Deployment]) -> Mapping[str, int]:
        canaries.require_running(connection, canary, entity_code=entity_code)
        present, control = percents_of(active), entity["control_run_id"]
        if to_step is None:
            kept = {control: present[control]} if control in present else {}
            return {run_id: 100 - sum(kept.values()), **kept}
        pct = canaries.plan_of(canary).steps[to_step - 1].traffic_pct
        return with_share(present, run_id=run_id, pct=pct, fixed=control)

    def record(connection: Connection, entity: RowMapping) -> None:
        if to_step is not None:
            canaries.move(connection, canary, to_step=to_step, author=author, now=now)

    marks = (
        _Marks(author, "scheduled", "promote_canary")
        if to_step is None
        else _Marks(author, "canary", "move_canary", canary_run_id=run_id)
    )
    return _change(engine, choose, entity_code=entity_code, marks=marks, now=now, seen=seen, then=record)


def pause_canary(engine: Engine, *, entity_code: str, author: Author, now: datetime, is_paused: bool = True) -> Canary:
    """Pause the entity's canary at its step, or let it go on; return it. A person's word holds against the monitor.

    Raises:
        DeploymentError: the entity is unknown, or tries no run.
    """
    with transaction(engine) as connection:
        entity = _find_entity(connection, entity_code, lock=True)
        canary = canaries.find_open(connection, entity["entity_id"])
        if canary is None:
            raise DeploymentError(
                f"entity {entity_code}: no run is being tried; `optimizer deployments {entity_code}` shows what is live"
            )
        return canaries.set_paused(connection, canary, is_paused=is_paused, author=author, now=now)


def plan_rollback(
    engine: Engine,
    entity_code: str,
    *,
    without: Collection[str] = (),
    problem_of: Callable[[Run], str | None] = lambda run: None,
) -> RollbackPlan:
    """Return what `rollback` would do now; raises as it.

    Args:
        without: runs that are to get nothing; splits with one of them are passed over.
        problem_of: says why a run may not be served, beyond what the control plane knows, or None.
    """
    with reading(engine) as connection:
        entity = _find_entity(connection, entity_code)
        active = _read_active(connection, entity["entity_id"])
        return _plan_rollback(connection, entity, active, without=without, problem_of=problem_of)


def read_active(engine: Engine, entity_code: str) -> list[Deployment]:
    """Return the entity's active deployments, the largest share first; none where nothing is deployed."""
    with reading(engine) as connection:
        entity_id = connection.scalar(select(entities.c.entity_id).where(entities.c.entity_code == entity_code))
        return _read_active(connection, entity_id)


def was_live(engine: Engine, entity_id: int) -> bool:
    """Return whether a run of the entity had traffic, now or ever."""
    with reading(engine) as connection:
        found = select(deployments.c.deployment_id).where(deployments.c.entity_id == entity_id).limit(1)
        return connection.scalar(found) is not None


def read_history(engine: Engine, entity_code: str, *, limit: int = 100) -> list[Deployment]:
    """Return the entity's deployments of all times, the newest first."""
    of_entity = select(deployments).join(entities, entities.c.entity_id == deployments.c.entity_id)
    newest_first = of_entity.where(entities.c.entity_code == entity_code).order_by(deployments.c.deployment_id.desc())
    with reading(engine) as connection:
        return read_rows(Deployment, connection.execute(newest_first.limit(limit)).mappings())


def read_splits(engine: Engine, entity_code: str, *, limit: int = 1000) -> list[Split]:
    """Return the splits that the entity's newest deployments make, the newest split first."""
    return group_splits(read_history(engine, entity_code, limit=limit))[::-1]


def _change(
    engine: Engine,
    choose: Choose,
    *,
    entity_code: str,
    marks: _Marks,
    now: datetime,
    promotion: Promotion | None = None,
    seen: Collection[int] | None = None,
    then: Callable[[Connection, RowMapping], None] | None = None,
) -> list[Deployment]:
    """Replace the active split by what `choose` makes of it: one transaction, the entity's row locked.

    Args:
        promotion: the run that goes live without a person's word, to be checked.
        then: what else belongs to the transaction, once the new split is in place.
    """
    try:
        with transaction(engine) as connection:
            entity = _find_entity(connection, entity_code, lock=True)
            active = _read_active(connection, entity["entity_id"])
            split = choose(connection, entity, active)
            _check_split(connection, entity, split=split)
            if percents_of(active) != dict(split):
                _check_seen(entity_code, active, seen=seen)
                if promotion is not None:
                    check_promotion(
                        connection,
                        promotion.run_id,
                        entity_code=entity_code,
                        active=active,
                        now=now,
                        manual_split_days=promotion.manual_split_days,
                    )
                _replace(connection, entity, active, split=split, marks=marks, now=now)
                if then is not None:
                    then(connection, entity)
            elif marks.is_pinned:
                _pin(connection, entity["entity_id"], active, is_pinned=True, author=marks.author, now=now)
            _point_entity(
                connection, entity["entity_id"], run_id=max(split, key=lambda run_id: (split[run_id], run_id))
            )
            return _read_active(connection, entity["entity_id"])
    except IntegrityError as error:
        raise UnavailableError(f"entity {entity_code}: its split was changed at this very moment; try again") from error


def _with_control(split: Mapping[str, int], control_run_id: str | None, control_pct: int) -> Mapping[str, int]:
    """The split with the control's share in it, where there is a control that it does not name."""
    if control_run_id is None or control_pct <= 0 or control_run_id in split or sum(split.values()) != 100:
        return split
    return with_share(split, run_id=control_run_id, pct=control_pct)


def _check_seen(entity_code: str, active: Iterable[Deployment], *, seen: Collection[int] | None) -> None:
    if seen is not None and {deployment.deployment_id for deployment in active} != set(seen):
        present = ", ".join(
            f"run {row.run_id} {row.traffic_pct} % by {row.deployed_by or 'an unknown user'}" for row in active
        )
        raise SplitChanged(
            f"entity {entity_code}: its split was changed meanwhile to {present or 'nothing'}; "
            "look at it and decide again"
        )


def _plan_rollback(
    connection: Connection,
    entity: RowMapping,
    active: list[Deployment],
    *,
    without: Collection[str] = (),
    problem_of: Callable[[Run], str | None] = lambda run: None,
) -> RollbackPlan:
    code, present = entity["entity_code"], percents_of(active)
    rows = connection.execute(select(deployments).where(deployments.c.entity_id == entity["entity_id"])).mappings()
    skipped: list[str] = []
    for split in earlier_splits(group_splits(read_rows(Deployment, rows)), present=present):
        unwanted = [f"run {run_id} is not to be served" for run_id in split.percents if run_id in without]
        problems = unwanted or _split_problems(connection, entity, split=split.percents, problem_of=problem_of)
        if not problems:
            return RollbackPlan(dict(split.percents), tuple(row.deployment_id for row in active), tuple(skipped))
        skipped.append(f"the split of {split.deployed_at:%Y-%m-%d %H:%M:%S} UTC is passed over: {'; '.join(problems)}")
    reasons = "".join(f"; {reason}" for reason in skipped)
    raise DeploymentError(
        f"entity {code}: there is no earlier split to go back to{reasons}; `optimizer deploy` sets one by hand"
    )


def _find_entity(connection: Connection, entity_code: str, *, lock: bool = False) -> RowMapping:
    """Return the entity's row; `lock` keeps it from every other deploy until the end of the transaction."""
    columns = (entities.c.entity_id, entities.c.entity_code, entities.c.control_run_id)
    statement = select(*columns).where(entities.c.entity_code == entity_code)
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    if row is None:
        raise DeploymentError(f"entity {entity_code!r} is not in opt_entities; correct the entity's code")
    return row


def _check_split(connection: Connection, entity: RowMapping, *, split: Mapping[str, int]) -> None:
    if problems := _split_problems(connection, entity, split=split):
        raise DeploymentError(f"entity {entity['entity_code']}: the split cannot be deployed: " + "; ".join(problems))


def _split_problems(
    connection: Connection,
    entity: RowMapping,
    *,
    split: Mapping[str, int],
    problem_of: Callable[[Run], str | None] = lambda run: None,
) -> list[str]:
    rows = connection.execute(select(runs).where(runs.c.run_id.in_(list(split)))).mappings()
    found = {run.run_id: run for run in read_rows(Run, rows)}
    problems = [*_percent_problems(split)]
    for run_id in split:
        problems += _run_problems(run_id, found.get(run_id), entity_id=entity["entity_id"])
    if not problems:
        problems = [problem for run_id in split if (problem := problem_of(found[run_id]))]
    return problems


def _percent_problems(split: Mapping[str, int]) -> Iterable[str]:
    wrong = [run_id for run_id, percent in split.items() if type(percent) is not int or percent <= 0]
    for run_id in wrong:
        yield f"run {run_id} has {split[run_id]!r} percent; give it a whole number above 0, or leave it out"
    if not split:
        yield "it names no run; give at least one run and its percent"
    elif not wrong and sum(split.values()) != 100:
        yield f"the percents sum to {sum(split.values())}; make them sum to 100"


def _run_problems(run_id: str, run: Run | None, *, entity_id: int) -> list[str]:
    if run is None:
        return [f"run {run_id} is not in opt_runs; choose a completed run"]
    if run.entity_id != entity_id:
        return [f"run {run_id} is a run of another entity; choose one of this entity's"]
    if run.status != "completed":
        return [f"run {run_id} is {run.status}; choose a completed run"]
    if run.validation_status != "passed":
        return [f"run {run_id} has validation_status {run.validation_status}; choose a run whose validation passed"]
    return []


def _replace(
    connection: Connection,
    entity: RowMapping,
    active: list[Deployment],
    *,
    split: Mapping[str, int],
    marks: _Marks,
    now: datetime,
) -> None:
    entity_id, control = entity["entity_id"], entity["control_run_id"]
    is_old = (deployments.c.entity_id == entity_id, deployments.c.is_active.is_(True))
    connection.execute(update(deployments).where(*is_old).values(is_active=False, deactivated_at=now))
    shared = {
        "entity_id": entity_id,
        "is_active": True,
        "deployed_by": marks.author.name,
        "deployed_at": now,
        "canary_run_id": marks.canary_run_id,
        "comment": marks.author.comment,
    }
    own = {"source": marks.source, "is_pinned": marks.is_pinned}
    pinned_control = {"source": "control", "is_pinned": True}
    rows = [
        {"run_id": run_id, "traffic_pct": percent, **shared, **(pinned_control if run_id == control else own)}
        for run_id, percent in split.items()
    ]
    connection.execute(insert(deployments), rows)
    if marks.canary_run_id is None:
        canaries.end_open(connection, entity_id, split=split, author=marks.author, now=now)
    write_audit(
        connection,
        marks.author,
        action=marks.action,
        now=now,
        entity_id=entity_id,
        before={"split": percents_of(active)},
        after={"split": dict(split), "source": marks.source, "is_pinned": marks.is_pinned},
    )


def _pin(
    connection: Connection,
    entity_id: int,
    active: Iterable[Deployment],
    *,
    is_pinned: bool,
    author: Author,
    now: datetime,
) -> None:
    others = [row for row in active if row.source != "control" and row.is_pinned != is_pinned]
    if not others:
        return
    ids = [row.deployment_id for row in others]
    connection.execute(update(deployments).where(deployments.c.deployment_id.in_(ids)).values(is_pinned=is_pinned))
    write_audit(
        connection,
        author,
        action="pin" if is_pinned else "unpin",
        now=now,
        entity_id=entity_id,
        before={"is_pinned": not is_pinned},
        after={"is_pinned": is_pinned, "split": percents_of(others)},
    )


def _point_entity(connection: Connection, entity_id: int, *, run_id: str) -> None:
    connection.execute(update(entities).where(entities.c.entity_id == entity_id).values(active_run_id=run_id))


def _read_active(connection: Connection, entity_id: int | None) -> list[Deployment]:
    is_active = (deployments.c.entity_id == entity_id, deployments.c.is_active.is_(True))
    by_share = (deployments.c.traffic_pct.desc(), deployments.c.run_id)
    rows = connection.execute(select(deployments).where(*is_active).order_by(*by_share)).mappings()
    return read_rows(Deployment, rows)
