"""What a run would bid with other settings: its stored curves, priced again without training.

The interface, the same for the command line and the console:

    what_if = load_what_if(run_id, engine=engine, store=store, now=now)   # read once; it never changes
    proposal = what_if.price({"target_win_rate": 0.35})                   # Proposal, see optimizer.runs.proposals
    points = what_if.frontier({"target_win_rate": 0.35})                  # FrontierPoint by target

A wish has the keys of `CHANGEABLE`; values may be typed or text. The bids are those of the function that prices a run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import Engine

from optimizer.artifacts.manifest import Manifest, read_manifest, read_verified
from optimizer.artifacts.store import ObjectStore
from optimizer.control_plane import entities, runs
from optimizer.control_plane.records import Run
from optimizer.core.config.merge import ConfigKey, parse_value
from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.bid_policy import BidPolicy
from optimizer.core.records import run_files
from optimizer.core.records.config_snapshot import ConfigSnapshot
from optimizer.errors import ArtifactError, ConfigError, RunStateError
from optimizer.runs.planned_bids import is_same_day, read_plan
from optimizer.runs.present_bids import bids_by_segment, plan_of_bids
from optimizer.runs.pricing import PlannedRun, Priceable
from optimizer.runs.pricing_inputs import read_pricing_inputs
from optimizer.runs.proposals import (
    EvidenceLimits,
    Figures,
    FrontierPoint,
    Move,
    Proposal,
    evidence_of,
    figures_of,
    moves_between,
)
from optimizer.runs.published_run import output_uri_of

__all__ = ["EvidenceLimits", "Figures", "FrontierPoint", "Move", "Proposal", "WhatIf", "load_what_if"]

CHANGEABLE = (
    "target_win_rate",
    "target_margin",
    "win_rate_scope",
    "max_bid_cpm",
    "exploration_mode",
    "aggressive_exploration",
    "daily_step_limit",
    "floor_available",
)
"""Settings that pricing reads and training does not: the only ones that a wish may have."""

FRONTIER_POINTS = 9
FRONTIER_SPAN = (0.5, 1.5)
"""The targets of a frontier, as shares of the target now and wished."""


@dataclass(frozen=True)
class WhatIf:
    """A run that can be priced with other settings; keep it by its run_id, it is made for many questions.

    config_keys: type and bounds of the entity's settings.
    served_run_id: the live run whose bids the daily step starts from; None where no run is live.
    run: priced from what the run itself knew; next_run: from what a run that starts now would know.
    """

    run_id: str
    settings: RunSettings
    config_keys: tuple[ConfigKey, ...] = field(repr=False)
    served_run_id: str | None
    run: Priceable = field(repr=False)
    next_run: Priceable = field(repr=False)

    @cached_property
    def now(self) -> PlannedRun:
        """The bids of the run itself."""
        return self.run.plan(self.settings, self.run.policy(self.settings), seed=self.run_id)

    @cached_property
    def now_figures(self) -> Figures:
        """What the bids of the run itself are expected to bring."""
        return figures_of(self.now, self.run.learned)

    def settings_with(self, wish: Mapping[str, Any]) -> RunSettings:
        """Return the run's settings with those of the wish.

        Raises:
            ConfigError: names every key that needs training or is unknown, and every value out of bounds.
        """
        return changed_settings(self.settings, wish, keys=self.config_keys)

    def price(self, wish: Mapping[str, Any]) -> Proposal:
        """Return what a run that starts now with these values would bid, and what that is expected to bring.

        Jitter is drawn as the run drew it, so that the moves show settings and daily steps alone.

        Raises:
            ConfigError: a key needs training or is unknown, or a value is out of bounds.
        """
        settings = self.settings_with(wish)
        proposed, settled = (
            self.next_run.plan(settings, policy, seed=self.run_id)
            for policy in (self.next_run.policy(settings), self._settled(settings))
        )
        moves, moved_segments = moves_between(self.now.bids, proposed.bids)
        learned = self.next_run.learned
        return Proposal(
            run_id=self.run_id,
            wish={name: getattr(settings, name) for name in wish},
            target_win_rate=settings.target_win_rate,
            now=self.now_figures,
            proposed=figures_of(proposed, learned),
            settled=figures_of(settled, learned),
            evidence=evidence_of(settled),
            moves=moves,
            moved_segments=moved_segments,
        )

    def frontier(self, wish: Mapping[str, Any], *, targets: Sequence[float] | None = None) -> tuple[FrontierPoint, ...]:
        """Return win rate and CPM by target, without the daily step.

        Args:
            targets: rising; by default `FRONTIER_POINTS` at even steps around the targets now and wished.

        Raises:
            ConfigError: as `price`.
        """
        settings = self.settings_with(wish)
        if targets is None:
            both = (self.settings.target_win_rate, settings.target_win_rate)
            low, high = max(0.01, FRONTIER_SPAN[0] * min(both)), min(0.99, FRONTIER_SPAN[1] * max(both))
            targets = np.linspace(low, high, FRONTIER_POINTS).tolist()
        plans = self.next_run.plan_targets(settings, self._settled(settings), targets=targets, seed=self.run_id)
        return tuple(
            FrontierPoint(target, plan.expected_win_rate, plan.expected_cpm)
            for target, plan in zip(targets, plans, strict=True)
        )

    def _settled(self, settings: RunSettings) -> BidPolicy:
        """What bounds the bids once daily steps have been made."""
        return replace(self.next_run.policy(settings), step_limit=np.inf)


def load_what_if(run_id: str, *, engine: Engine, store: ObjectStore, now: datetime) -> WhatIf:
    """Return the completed run or dry run, read from what it published.

    Args:
        now: when the run of the wish would start (UTC); the daily step counts calendar days.

    Raises:
        RunStateError: it has no published files, or none to price from, or the live run has another key.
        ArtifactError: a file of it, or of the live run, is missing or changed.
    """
    row = runs.read_run(engine, run_id)
    manifest, files = _read_files(row, store)
    snapshot = ConfigSnapshot.model_validate_json(files[run_files.CONFIG])
    learned, active = read_pricing_inputs(files, where=f"{run_files.PRICING_INPUTS} of run {run_id}")
    definition = entities.read_definition(engine, manifest.entity_code)
    served_run_id = definition.entity.active_run_id
    itself = Priceable.of(learned, active)
    what_if = WhatIf(run_id, snapshot.settings, definition.config_keys, served_run_id, itself, itself)
    if served_run_id is None:
        return what_if if active is None else replace(what_if, next_run=itself.stepping_from(None))
    if served_run_id == run_id:
        plan = plan_of_bids(
            what_if.now.bids,
            features=manifest.bidding.features,
            fallback_cpm=manifest.bidding.fallback_bid_cpm,
            is_same_day=is_same_day(row.started_at, now),
        )
    else:
        plan = read_plan(served_run_id, engine=engine, store=store, next_start=now)
    served = bids_by_segment(plan, itself.segments, features=tuple(learned.features))
    if served is None and served_run_id != snapshot.inputs.active_run_id:
        raise RunStateError(
            f"run {run_id} cannot be compared with the live run {served_run_id}: its key lacks "
            f"{', '.join(sorted(set(plan.features) - set(learned.features)))}; look at run {served_run_id}, or start a "
            "dry run with other values"
        )
    # Where the keys differ, the run noted the live bids by its own keys.
    return what_if if served is None else replace(what_if, next_run=itself.stepping_from(served))


def _read_files(row: Run, store: ObjectStore) -> tuple[Manifest, dict[str, bytes]]:
    output_uri = output_uri_of(row)
    try:
        manifest = read_manifest(store, output_uri, checksum=row.manifest_sha256)
        names = {item.name for item in manifest.objects} & {*run_files.PRICING_FILES, run_files.CONFIG}
        files = {
            name: read_verified(store, output_uri=output_uri, manifest=manifest, name=name) for name in sorted(names)
        }
    except ArtifactError as error:
        raise ArtifactError(f"run {row.run_id}: {error}; restore the objects, or look at another run") from error
    if run_files.PRICING_INPUTS not in names:
        raise RunStateError(
            f"run {row.run_id} has no {run_files.PRICING_INPUTS}: older versions of the optimizer, and control runs, "
            "leave none; run the entity once more and look at the new run"
        )
    return manifest, files


def changed_settings(settings: RunSettings, wish: Mapping[str, Any], *, keys: Iterable[ConfigKey]) -> RunSettings:
    """Return the settings with these values, checked as a run's own are.

    Args:
        keys: type and bounds of each key, of the entity.

    Raises:
        ConfigError: names every key that cannot be changed here, and every value out of bounds.
    """
    specs = {key.config_key: key for key in keys}
    values, problems = {}, []
    for name, raw in wish.items():
        try:
            values[name] = parse_value(_changeable(name, specs), raw)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return settings.model_copy(update=values)


def _changeable(name: str, specs: Mapping[str, ConfigKey]) -> ConfigKey:
    if name not in CHANGEABLE or name not in specs:
        raise ConfigError(f"{name} cannot be changed without a new run; change one of {', '.join(CHANGEABLE)}")
    return specs[name]
