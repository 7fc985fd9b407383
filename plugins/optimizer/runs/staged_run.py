"""A validated run: every record that its steps staged, read once."""

from dataclasses import dataclass

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape
from optimizer.core.landscape.features import Selection
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.pricing.bid_steps import RunPricing
from optimizer.core.records import run_files
from optimizer.core.records.bid_figures import BidFigures
from optimizer.core.records.config_snapshot import ConfigSnapshot
from optimizer.core.records.tracking import TrackingFigures
from optimizer.core.records.validation import Validation
from optimizer.core.records.window_totals import StagedLog
from optimizer.runs import artifacts
from optimizer.runs.handle import RunHandle, read_snapshot
from optimizer.runs.staging import Staging
from optimizer.runs.systems import Systems
from optimizer.training.job import TrainingReport


@dataclass(frozen=True, slots=True)
class StagedRun:
    """The records of a run as they were validated.

    stage: its staging prefix, from which tables and models can only be read as they were validated.
    backtest: None where none was made.
    """

    handle: RunHandle
    snapshot: ConfigSnapshot
    stage: Staging
    log: StagedLog
    selection: Selection
    training: TrainingReport
    tracking: TrackingFigures
    bids: BidFigures
    backtest: Backtest | None
    validation: Validation

    @classmethod
    def read(cls, run: RunHandle, systems: Systems) -> "StagedRun":
        """Return the run.

        Raises:
            ArtifactError: a staged file is missing, or is not what was validated.
        """
        return cls.of(run, snapshot=read_snapshot(run, systems), stage=run.staging(systems))

    @classmethod
    def of(cls, run: RunHandle, *, snapshot: ConfigSnapshot, stage: Staging) -> "StagedRun":
        """Return the run whose records are below a staging prefix.

        Raises:
            ArtifactError: a staged file is missing, or is not what was validated.
        """
        validation = artifacts.VALIDATION.read(stage)
        pinned = stage.pinned(validation.checksums)
        # Runs of versions without tracking have staged nothing of it.
        is_tracked = pinned.has(run_files.TRACKING)
        return cls(
            handle=run,
            snapshot=snapshot,
            stage=pinned,
            log=artifacts.TOTALS.read(pinned),
            selection=artifacts.SELECTION.read(pinned),
            training=artifacts.TRAINING.read(pinned),
            tracking=artifacts.TRACKING.read(pinned) if is_tracked else TrackingFigures(),
            bids=artifacts.BID_FIGURES.read(pinned),
            backtest=artifacts.BACKTEST.read(pinned),
            validation=validation,
        )

    @property
    def settings(self) -> RunSettings:
        """The typed settings of its snapshot."""
        return self.snapshot.settings

    @property
    def landscape(self) -> Landscape:
        """The win-rate curves that its bids were priced on."""
        return self.bids.link.landscape(self.training.reference_cpm)

    @property
    def pricing(self) -> RunPricing:
        """What all its segments share."""
        shared = ("shadow_price_cpm", "value_trust", "step_limit", "jitter_sd", "level_correction")
        figures = {name: getattr(self.bids, name) for name in shared}
        return RunPricing(settings=self.settings, reference_cpm=self.training.reference_cpm, **figures)
