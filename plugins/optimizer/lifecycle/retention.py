"""Old objects of runs are removed: staged files, dry runs, what failed runs left, and outputs that no traffic needs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from optimizer.artifacts.manifest import MANIFEST_NAME
from optimizer.artifacts.store import ObjectStore, split_uri
from optimizer.control_plane import retention
from optimizer.control_plane.audit import Author
from optimizer.control_plane.records import Run
from optimizer.errors import ConfigError
from optimizer.runs.handle import DRY_RUNS, RUNS, STAGING, folder_uri

COUNT_DAYS = 90
"""Hourly counts of bidders are kept for this many days."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How many days objects are kept after their run ended.

    output_days: outputs of completed runs; a run that was live within these days keeps them longer.
    scratch_days: staged files, dry runs, and outputs of runs that failed or were cancelled.
    """

    output_days: int = 180
    scratch_days: int = 14

    def __post_init__(self) -> None:
        if self.scratch_days < 1 or self.output_days < self.scratch_days:
            raise ConfigError(
                f"outputs would be kept for {self.output_days} days and staged files for {self.scratch_days}; keep "
                f"staged files for 1 to {max(self.output_days, 1)} days, or outputs longer"
            )


@dataclass(frozen=True, slots=True)
class Removal:
    """Objects of one run that the policy does not keep.

    what: `staging`, `dry run`, `unfinished outputs` or `outputs`.
    keys: of the objects in the bucket, the manifest first: without it the rest is not a run.
    """

    entity_code: str
    run: Run
    what: str
    uri: str
    keys: tuple[str, ...]

    @property
    def ended_at(self) -> datetime:
        """When the run ended, UTC."""
        return _ended_at(self.run)

    @property
    def ends_run(self) -> bool:
        """Whether what the run published goes, rather than what its steps left for each other."""
        return self.what in ("dry run", "outputs")


def plan_removals(engine: Engine, *, store: ObjectStore, policy: RetentionPolicy, now: datetime) -> list[Removal]:
    """Return what the policy removes, by entity and the oldest run first; changes nothing.

    Only the folders of runs of the entity are looked at: anything else below s3_base_path is left alone, and so are
    outputs of runs that were made below another s3_base_path.
    """
    found, oldest = [], now - timedelta(days=policy.scratch_days)
    for entity_id, code, base in retention.list_bases(engine, before=oldest):
        stored = {folder: _keys_by_code(store, folder_uri(base, folder)) for folder in (STAGING, DRY_RUNS, RUNS)}
        run_codes = set().union(*stored.values())
        protected = retention.list_protected(engine, entity_id, since=now - timedelta(days=policy.output_days))
        for run in retention.list_ended(engine, entity_id, run_codes=run_codes, before=oldest):
            for folder, what in _wanted(run, policy=policy, is_protected=run.run_id in protected, now=now):
                uri = f"{folder_uri(base, folder)}{run.run_code}/"
                keys = stored[folder].get(run.run_code, ())
                if keys and (what != "outputs" or run.s3_output_path == uri):
                    found.append(Removal(code, run, what, uri, tuple(sorted(keys, key=_manifest_first))))
    return found


def remove(
    removals: Sequence[Removal],
    *,
    engine: Engine,
    store: ObjectStore,
    policy: RetentionPolicy,
    author: Author,
    now: datetime,
) -> list[Removal]:
    """Remove the planned objects and return those that were: a run that went live meanwhile keeps its files.

    A pass that was interrupted is completed by the next one.

    Raises:
        UnavailableError: the store or the database is silent.
    """
    since = now - timedelta(days=policy.output_days)
    done = []
    for removal in removals:
        run, note = removal.run, {"what": removal.what, "prefix": removal.uri, "objects": len(removal.keys)}
        if not removal.ends_run:
            retention.record_removal(engine, run, author=author, now=now, what=note)
        elif not retention.mark_removed(engine, run, since=since, author=author, now=now, what=note):
            continue
        bucket, _ = split_uri(removal.uri)
        for key in removal.keys:
            store.delete(f"s3://{bucket}/{key}")
        if removal.ends_run:
            retention.forget_outputs(engine, run.run_id)
        done.append(removal)
    return done


def removal_document(removal: Removal) -> dict[str, object]:
    """Return the removal as JSON."""
    run = removal.run
    return {
        "entity_code": removal.entity_code,
        "what": removal.what,
        "uri": removal.uri,
        "run_id": run.run_id,
        "status": run.status_text,
        "ended_at": removal.ended_at,
        "objects": len(removal.keys),
    }


def _wanted(run: Run, *, policy: RetentionPolicy, is_protected: bool, now: datetime) -> Iterator[tuple[str, str]]:
    """The folders in which the run's objects are not kept anymore, and what they are; the run has ended."""
    yield STAGING, "staging"
    if run.is_dry_run:
        yield DRY_RUNS, "dry run"
    elif run.status != "completed":
        yield RUNS, "unfinished outputs"
    elif not is_protected and _ended_at(run) < now - timedelta(days=policy.output_days):
        yield RUNS, "outputs"


def _keys_by_code(store: ObjectStore, uri: str) -> dict[str, list[str]]:
    """{run_code: keys} of the objects in folders directly below the address."""
    _, prefix = split_uri(uri)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for key in store.list_keys(uri):
        run_code, slash, _ = key.removeprefix(prefix).partition("/")
        if slash:
            found[run_code].append(key)
    return found


def _manifest_first(key: str) -> tuple[bool, str]:
    return not key.endswith(f"/{MANIFEST_NAME}"), key


def _ended_at(run: Run) -> datetime:
    return run.completed_at or run.created_at
