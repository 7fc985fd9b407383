"""Frozen models of what is in the tables; times are aware UTC, statuses the words of this system."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict
from sqlalchemy import RowMapping

from optimizer.core.checks.outcome import outcome_text
from optimizer.core.config.merge import ConfigKey, EffectiveConfig, merge_config

OLD_STATUS_WORDS = {"queued": "pending", "success": "completed"}


def status_words(*statuses: str) -> tuple[str, ...]:
    """Return every word that a row of these statuses may hold, the old ones included."""
    return statuses + tuple(old for old, new in OLD_STATUS_WORDS.items() if new in statuses)


def _read_status(word: Any) -> Any:
    return OLD_STATUS_WORDS.get(word, word)


def _finite(value: float | None) -> float | None:
    # What could not be computed is NULL: the databases have no NaN.
    return value if value is not None and math.isfinite(value) else None


RunStatus = Annotated[Literal["pending", "running", "completed", "failed", "cancelled"], BeforeValidator(_read_status)]
ValidationStatus = Literal["passed", "failed"]
ReadinessFigures = dict[str, dict[str, float | None]]
Source = Literal["manual", "scheduled", "canary", "control", "rollback"]
UtcMoment = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
# The warehouse's names ignore case, which people write as they like; everything later compares them as they stand.
ColumnName = Annotated[str, AfterValidator(str.lower)]
Measure = Annotated[float | None, AfterValidator(_finite)]


class Record(BaseModel):
    """Base of the models; keeps of a row the columns that it names."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Entity(Record):
    """An SSP client; `object_id` is its number in the event tables, `s3_base_path` an s3:// prefix."""

    entity_id: int
    opt_id: int
    entity_code: str
    entity_name: str
    object_id: int
    object_type: str
    current_version_id: int
    active_run_id: str | None
    s3_base_path: str
    status: Literal["A", "I"]
    control_run_id: str | None = None


class EntityValue(Record):
    """A config value of an entity's own, as text; updated_by is empty where its writer left no name."""

    config_key: str
    config_value: str
    updated_by: str
    updated_at: UtcMoment


class FeatureMacro(Record):
    """How the bidder finds a feature's value in a bid request; the name is lower case, however the row has it."""

    macro_id: int
    feature_name: ColumnName
    macro_template: str
    macro_format: str


class EntityDefinition(Record):
    """All that a DAG and a config merge need of one entity; survives model_dump_json and model_validate_json."""

    entity: Entity
    version_code: str
    config_keys: tuple[ConfigKey, ...]
    supported_keys: tuple[str, ...] | None
    entity_values: dict[str, str]
    feature_macros: tuple[FeatureMacro, ...]

    @property
    def schedule(self) -> str:
        """The cron expression of the entity's runs, empty where none starts by itself; it need not be valid."""
        defaults = {key.config_key: key.default_value for key in self.config_keys if key.config_key == "schedule"}
        return self.entity_values.get("schedule", defaults.get("schedule")) or ""

    def merged_config(self, run_values: Mapping[str, Any] | None = None) -> EffectiveConfig:
        """Return the entity's effective configuration, with the values of one run if given.

        Raises:
            ConfigError: names every unknown key, wrong type, value out of bounds and missing key together.
        """
        return merge_config(
            self.config_keys,
            entity_code=self.entity.entity_code,
            entity_values=self.entity_values,
            run_values=run_values or {},
            supported_keys=self.supported_keys,
        )


class BrokenEntity(Record):
    """An entity whose rows cannot be used; `reason` names column, value and next step."""

    entity_code: str
    reason: str


class EndedRunRow(Record):
    """The columns of a run that ended that its entity's state follows from, as in `Run`."""

    run_id: str
    status: RunStatus
    validation_status: ValidationStatus | None
    error_message: str | None
    data_end_dt: UtcMoment | None
    created_at: UtcMoment
    completed_at: UtcMoment | None
    config_snapshot: dict[str, Any] | None
    readiness_figures: ReadinessFigures | None


class CompletedRun(Record):
    """A completed run and where its outputs are."""

    run_id: str
    s3_output_path: str | None


class Run(Record):
    """A row of opt_runs; the window is [data_start_dt, data_end_dt), bids are CPM.

    validation_warnings: number of checks that warned; None where they were not counted.
    is_dry_run: it ends `cancelled`, with its results, and can never be deployed.
    readiness_figures: {section: {metric: figure}} of READINESS_FIGURES; None before it ended with results, and for runs
        of earlier releases.
    outputs_removed_at: since when its published files are gone; None while they are kept.
    manifest_sha256: of its manifest.json, in hexadecimal; None where the run registered no manifest.
    """

    run_id: str
    run_code: str
    entity_id: int
    version_id: int
    dag_id: str | None
    dag_run_id: str | None
    status: RunStatus
    triggered_by: str
    trigger_type: str
    data_start_dt: UtcMoment | None
    data_end_dt: UtcMoment | None
    config_snapshot: dict[str, Any] | None
    total_bids: int | None
    total_views: int | None
    total_clicks: int | None
    total_segments: int | None
    segments_count: int | None
    segments_in_memcache: int | None
    domains_count: int | None
    npis_count: int | None
    features_used: str | None
    bid_median: float | None
    bid_min: float | None
    bid_max: float | None
    s3_output_path: str | None
    validation_status: ValidationStatus | None
    validation_warnings: int | None
    error_message: str | None
    created_at: UtcMoment
    started_at: UtcMoment | None
    heartbeat_at: UtcMoment | None
    completed_at: UtcMoment | None
    is_dry_run: bool = False
    readiness_figures: ReadinessFigures | None = None
    outputs_removed_at: UtcMoment | None = None
    manifest_sha256: str | None = None
    held_by: str | None = None

    @property
    def is_finished_dry_run(self) -> bool:
        """Whether it is a dry run that came to its end, rather than one that was cancelled before."""
        return self.is_dry_run and self.status == "cancelled" and self.validation_status is not None

    @property
    def status_text(self) -> str:
        """The status in words: `dry run` for one that came to its end."""
        if self.is_finished_dry_run:
            return "dry run"
        return f"{self.status} (dry run)" if self.is_dry_run else self.status

    @property
    def outcome(self) -> str | None:
        """`passed`, `passed with n warnings` or `failed`; None before its validation."""
        return outcome_text(self.validation_status, self.validation_warnings)


class SelectedFeature(Record):
    """One feature of a run's segment key; `feature_order` starts at 1."""

    feature_name: str
    feature_order: int
    is_anchor: bool = False
    signal_score: Measure = None
    macro_id: int | None = None


class RunFeature(SelectedFeature):
    """A row of opt_run_features."""

    run_id: str


class RunMacro(Record):
    """The run's whole key template, e.g. [ADX_GEO_STATE]|[ADX_USER_OS]."""

    run_id: str
    macro_combination: str
    macro_format: str


class RunMetric(Record):
    """A row of opt_run_metrics; a metric that could not be computed has no value."""

    run_id: str
    metric_section: str
    metric_key: str
    metric_value: float | None


class WrittenObject(Record):
    """One object that a run wrote; sha256 in hexadecimal."""

    output_type: str
    s3_bucket: str
    s3_key: str
    row_count: int | None = None
    byte_count: int | None = None
    sha256: str | None = None


class RunOutput(WrittenObject):
    """A row of opt_run_outputs."""

    run_id: str


class Deployment(Record):
    """A run's share of its entity's traffic, in percent, now or in the past.

    source: how the row came about. `manual`: a person, or the SQL of a UI; `scheduled`: a run's own promotion;
        `canary`: a split that tries canary_run_id; `control`: the pinned baseline; `rollback`: the monitor's.
    """

    deployment_id: int
    run_id: str
    entity_id: int
    traffic_pct: int
    is_active: bool
    deployed_by: str
    deployed_at: UtcMoment
    deactivated_at: UtcMoment | None
    source: Source = "manual"
    canary_run_id: str | None = None
    is_pinned: bool = False
    comment: str = ""


class Canary(Record):
    """A run that is tried in steps; `step` starts at 1, `ended_at` is None while it is open."""

    canary_id: int
    entity_id: int
    run_id: str
    canary_plan: str
    step: int
    status: Literal["running", "paused", "promoted", "rolled_back", "aborted"]
    reason: str | None
    changed_by: str
    started_at: UtcMoment
    step_started_at: UtcMoment
    ended_at: UtcMoment | None


class Alert(Record):
    """An incident; closed_at is None while it lasts."""

    alert_id: int
    entity_id: int
    kind: str
    subject: str
    message: str
    opened_at: UtcMoment
    last_seen_at: UtcMoment
    closed_at: UtcMoment | None


class Notification(Record):
    """A message about an incident to one destination: claimed while it is sent, sent_at is None until it arrived."""

    notification_id: int
    alert_id: int
    event: Literal["opened", "closed"]
    destination: str
    attempts: int
    claimed_at: UtcMoment | None
    sent_at: UtcMoment | None


class BidderCount(Record):
    """Impressions of an hour (UTC) with one outcome: a reason of the bidder's price, or `unreadable`."""

    counted_hour: UtcMoment
    outcome: str
    impressions: int


class AuditRow(Record):
    """One audited change and its author; before_value and after_value are JSON objects or None."""

    audit_id: int
    occurred_at: UtcMoment
    actor: str
    is_person: bool
    action: str
    entity_id: int | None
    run_id: str | None
    before_value: Any
    after_value: Any
    comment: str


AnyRecord = TypeVar("AnyRecord", bound=Record)


def read_rows(model: type[AnyRecord], rows: Iterable[RowMapping]) -> list[AnyRecord]:
    """Return the rows as records of `model`."""
    return [model.model_validate(dict(row)) for row in rows]
