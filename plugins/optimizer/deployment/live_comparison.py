"""A run next to what is live: the forecasts, what was measured since, and how the served bids would change."""

from collections.abc import Sequence
from dataclasses import replace

from optimizer.control_plane import entities, live_records
from optimizer.control_plane.live_rows import LiveVerdict
from optimizer.core.pricing.run_comparison import ComparedRun, compare_runs
from optimizer.core.pricing.served_changes import served_changes
from optimizer.core.records import run_files
from optimizer.core.records.estimate import Estimate
from optimizer.deployment.live_policy import savings_line
from optimizer.errors import ArtifactError, RunStateError
from optimizer.reporting.forecast import forecast_of
from optimizer.reporting.report_data import ComparedWith, LiveComparison
from optimizer.runs.metrics import metrics_document
from optimizer.runs.outputs import published_columns
from optimizer.runs.published_run import PublishedRun, best_response_of, read_published
from optimizer.runs.report_inputs import spend_scale
from optimizer.runs.staged_run import StagedRun
from optimizer.runs.systems import Systems

MOST_ANCHORS = 15


def read_live_comparison(run: StagedRun, *, systems: Systems) -> LiveComparison | None:
    """Return a validated run next to the run that was live when it was priced, None where there was none.

    Raises:
        ArtifactError: the run's own staged bids are missing or changed.
        UnavailableError: a system is silent.
    """
    live_run_id = run.snapshot.inputs.active_run_id
    if live_run_id is None:
        return None
    verdicts = live_records.read_verdicts(systems.engine, run.handle.entity_code)
    own = [found for found in verdicts if found.run_id == live_run_id and found.compared_with == "forecast"]
    published, problem = _read_published(live_run_id, systems)
    compared = LiveComparison(live=_compared(live_run_id, published, own, side="live"), problem=problem)
    if published is not None:
        compared = _with_changes(compared, published, run)
    return _with_control(compared, verdicts, run.handle.entity_code, systems)


def _read_published(run_id: str, systems: Systems) -> tuple[PublishedRun | None, str | None]:
    """The run, or why it cannot be read."""
    try:
        return read_published(run_id, engine=systems.engine, store=systems.store), None
    except (ArtifactError, RunStateError) as error:
        return None, str(error)


def _compared(
    run_id: str, published: PublishedRun | None, verdicts: Sequence[LiveVerdict], *, side: str
) -> ComparedWith:
    """The run's forecast and what was measured of it: `side` of the verdicts, `live` or `control`."""
    return ComparedWith(
        run_id=run_id,
        forecast={} if published is None else forecast_of(published.metrics),
        measured={found.figure: _measured(found, side) for found in verdicts},
        days=max((found.days for found in verdicts), default=0),
        last_day=max((found.last_day for found in verdicts if found.last_day is not None), default=None),
    )


def _measured(found: LiveVerdict, side: str) -> Estimate:
    return Estimate(*(getattr(found, f"{side}{end}", None) for end in ("", "_low", "_high")))


def _with_changes(compared: LiveComparison, live: PublishedRun, run: StagedRun) -> LiveComparison:
    """The comparison with the changes of the served bids or, where keys differ, of the mean bids by anchor."""
    bids = run.stage.get_frame(run_files.BIDS)
    after = ComparedRun(
        run_id=run.handle.run_id,
        features=run.selection.features,
        bids=published_columns(bids),
        facts={},
        metrics=metrics_document(run),
        config=run.snapshot.values,
        pricing=run.pricing,
        best_response=best_response_of(run.settings, run.landscape),
    )
    before = live.for_comparison()
    if before.features != after.features:
        return replace(compared, anchors=compare_runs(before, after, top=MOST_ANCHORS).anchors)
    changes = served_changes(before, after, served_before=live.served, landscape=run.landscape)
    scale = spend_scale(bids, run.bids.expected_spend_per_day)
    return replace(compared, changes=changes.assign(spend_change=scale * changes["spend_change"]))


def _with_control(
    compared: LiveComparison, verdicts: Sequence[LiveVerdict], entity_code: str, systems: Systems
) -> LiveComparison:
    """The comparison with the entity's control, where it has one beside the live run."""
    control_id = entities.read_control_run_id(systems.engine, entity_code)
    if control_id is None or control_id == compared.live.run_id:
        return compared
    beside = [found for found in verdicts if found.compared_with == "control" and found.control_run_id == control_id]
    savings = live_records.read_savings(systems.engine, entity_code)
    return replace(
        compared,
        control=_compared(control_id, _read_published(control_id, systems)[0], beside, side="control"),
        against_control={found.figure: _measured(found, "difference") for found in beside},
        savings=tuple(savings_line(period) for period in savings if period.run_id == control_id),
    )
