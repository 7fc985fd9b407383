"""The opt_* tables: what is in each, and what the database itself guarantees.

Times are UTC. Foreign keys restrict: nothing that a run or a deployment refers to can be deleted under it.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Date, Double, ForeignKey, Integer, SmallInteger, String, Text
from sqlalchemy.schema import SchemaItem

from optimizer.control_plane.columns import (
    NAMING,
    RUN_CODE_TRIGGER,
    TABLE_OPTIONS,
    Json,
    Price,
    UtcDateTime,
    same_as_run_id,
    utc_now,
    utc_touched,
)

VERSION_TABLE = "opt_schema_version"
metadata = sa.MetaData(naming_convention=NAMING)


def _table(name: str, *items: SchemaItem) -> sa.Table:
    return sa.Table(name, metadata, *items, **TABLE_OPTIONS)


def _key(name: str) -> Column[int]:
    return Column(name, Integer, primary_key=True, autoincrement=True)


def _reference(name: str, target: str, **options: Any) -> Column[Any]:
    kind = String(64) if target.endswith(".run_id") else Integer
    return Column(name, kind, ForeignKey(target), **{"nullable": False, **options})


def _text(name: str, length: int, **options: Any) -> Column[str]:
    return Column(name, String(length), **{"nullable": False, **options})


def _flag(name: str, *, default: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=sa.text(default))


def _active_status() -> tuple[SchemaItem, SchemaItem]:
    """Return the column with 'A' for active and 'I' for inactive, and its check."""
    column = Column("status", sa.CHAR(1), nullable=False, server_default="A")
    return column, sa.CheckConstraint("status IN ('A', 'I')", name="status")


def _moment(name: str) -> Column[Any]:
    return Column(name, UtcDateTime, nullable=False, server_default=utc_now())


def _figures(*names: str) -> list[Column[float]]:
    return [Column(name, Double) for name in names]


def _entity_and_run(*, nullable_run: bool = False) -> tuple[SchemaItem, SchemaItem, SchemaItem]:
    """Return entity_id, run_id, and the key that lets a row name only a run of its entity."""
    return (
        Column("entity_id", Integer, nullable=False),
        _text("run_id", 64, nullable=nullable_run),
        sa.ForeignKeyConstraint(["entity_id", "run_id"], ["opt_runs.entity_id", "opt_runs.run_id"]),
    )


def _open_marker(ended: str) -> Column[Any]:
    """1 while the row is open, NULL afterwards: a unique key over it allows one open row, and many past ones."""
    return Column("open_marker", SmallInteger, sa.Computed(f"CASE WHEN {ended} IS NULL THEN 1 END", persisted=False))


def _created_at() -> Column[Any]:
    return Column("created_at", UtcDateTime, nullable=False, server_default=utc_now())


optimizers = _table(
    "opt_master",
    _key("opt_id"),
    _text("opt_code", 50, unique=True),
    _text("opt_name", 200),
    Column("description", Text),
    *_active_status(),
    _created_at(),
)

versions = _table(
    "opt_versions",
    _key("version_id"),
    _reference("opt_id", "opt_master.opt_id"),
    _text("version_code", 50),
    _text("version_name", 200),
    Column("release_date", Date),
    Column("supported_configs", Json),
    Column("description", Text),
    *_active_status(),
    _created_at(),
    sa.UniqueConstraint("opt_id", "version_code"),
)

version_configs = _table(
    "opt_version_configs",
    _key("config_id"),
    _reference("version_id", "opt_versions.version_id"),
    _text("config_key", 100),
    _text("config_section", 50),
    _text("display_name", 200),
    Column("description", Text),
    _text("data_type", 20),
    _text("default_value", 1000, nullable=True),
    _text("min_value", 100, nullable=True),
    _text("max_value", 100, nullable=True),
    Column("allowed_values", Json),
    _flag("is_required", default="1"),
    _flag("is_ui_visible", default="1"),
    sa.UniqueConstraint("version_id", "config_key"),
)

entities = _table(
    "opt_entities",
    _key("entity_id"),
    _reference("opt_id", "opt_master.opt_id"),
    _text("entity_code", 100, unique=True),
    _text("entity_name", 200),
    Column("object_id", Integer, nullable=False),
    _text("object_type", 50, server_default="ssp"),
    _reference("current_version_id", "opt_versions.version_id", nullable=True),
    _text("active_run_id", 64, nullable=True),
    _text("s3_base_path", 500),
    *_active_status(),
    _created_at(),
    # The run whose bids the control share of the traffic gets.
    _text("control_run_id", 64, nullable=True),
    # With the entity in the key, an entity can only point at runs of its own.
    sa.ForeignKeyConstraint(["entity_id", "active_run_id"], ["opt_runs.entity_id", "opt_runs.run_id"], use_alter=True),
    sa.ForeignKeyConstraint(["entity_id", "control_run_id"], ["opt_runs.entity_id", "opt_runs.run_id"], use_alter=True),
    sa.Index(None, "opt_id"),
    sa.Index(None, "current_version_id"),
    sa.Index(None, "entity_id", "active_run_id"),
    sa.Index(None, "entity_id", "control_run_id"),
)

entity_configs = _table(
    "opt_entity_configs",
    _key("id"),
    _reference("entity_id", "opt_entities.entity_id"),
    _text("config_key", 100),
    _text("config_value", 1000),
    _text("updated_by", 200, server_default=""),
    Column("updated_at", UtcDateTime, nullable=False, server_default=utc_touched()),
    sa.UniqueConstraint("entity_id", "config_key"),
)

feature_macros = _table(
    "opt_feature_macros",
    _key("macro_id"),
    _reference("opt_id", "opt_master.opt_id"),
    _text("feature_name", 100),
    _text("macro_template", 200),
    _text("macro_format", 20, server_default="adx"),
    *_active_status(),
    sa.UniqueConstraint("opt_id", "feature_name", "macro_format"),
)

runs = _table(
    "opt_runs",
    _text("run_id", 64, primary_key=True),
    _text("run_code", 64, server_default=same_as_run_id()),
    _reference("entity_id", "opt_entities.entity_id"),
    _reference("version_id", "opt_versions.version_id"),
    _text("dag_id", 250, nullable=True),
    _text("dag_run_id", 250, nullable=True),
    _text("status", 20, server_default="pending"),
    _text("triggered_by", 200, server_default=""),
    _text("trigger_type", 50, server_default="manual"),
    Column("data_start_dt", UtcDateTime),
    Column("data_end_dt", UtcDateTime),
    Column("config_snapshot", Json),
    Column("total_bids", BigInteger),
    Column("total_views", BigInteger),
    Column("total_clicks", BigInteger),
    Column("total_segments", BigInteger),
    Column("segments_count", BigInteger),
    Column("segments_in_memcache", BigInteger),
    Column("domains_count", BigInteger),
    Column("npis_count", BigInteger),
    Column("features_used", Text),
    Column("bid_median", Price),
    Column("bid_min", Price),
    Column("bid_max", Price),
    _text("s3_output_path", 700, nullable=True),
    _text("validation_status", 20, nullable=True),
    Column("validation_warnings", Integer),
    Column("error_message", Text),
    _created_at(),
    Column("started_at", UtcDateTime),
    Column("heartbeat_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    _flag("is_dry_run", default="0"),
    # A few of its metrics, for accounts that may not read those.
    Column("readiness_figures", Json),
    Column("outputs_removed_at", UtcDateTime),
    # Repeated from opt_run_outputs, which the bidder may not read.
    Column("manifest_sha256", sa.CHAR(64)),
    _text("held_by", 200, nullable=True),
    sa.CheckConstraint(
        "status IN ('pending', 'running', 'completed', 'failed', 'cancelled', 'queued', 'success')", name="status"
    ),
    sa.CheckConstraint("validation_status IN ('passed', 'failed')", name="validation_status"),
    sa.CheckConstraint("data_start_dt < data_end_dt", name="window"),
    sa.UniqueConstraint("entity_id", "run_id"),
    sa.UniqueConstraint("entity_id", "run_code"),
    sa.UniqueConstraint("dag_id", "dag_run_id"),
    sa.Index(None, "version_id"),
    sa.Index(None, "status", "created_at"),
    sa.Index(None, "entity_id", "status", "validation_status", "created_at"),
    sa.Index(None, "entity_id", "created_at"),
)
_run_code_trigger = sa.DDL(RUN_CODE_TRIGGER)  # type: ignore[no-untyped-call]  # SQLAlchemy gives it no types
sa.event.listen(runs, "after_create", _run_code_trigger.execute_if(dialect="sqlite"))

run_configs = _table(
    "opt_run_configs",
    _key("id"),
    _reference("run_id", "opt_runs.run_id"),
    _text("config_key", 100),
    _text("config_value", 1000),
    _text("config_section", 50, nullable=True),
    sa.UniqueConstraint("run_id", "config_key"),
)

run_features = _table(
    "opt_run_features",
    _key("id"),
    _reference("run_id", "opt_runs.run_id"),
    _text("feature_name", 100),
    Column("feature_order", SmallInteger, nullable=False),
    _flag("is_anchor", default="0"),
    Column("signal_score", Double),
    _reference("macro_id", "opt_feature_macros.macro_id", nullable=True),
    sa.UniqueConstraint("run_id", "feature_name"),
    sa.UniqueConstraint("run_id", "feature_order"),
    sa.Index(None, "macro_id"),
)

run_feature_macros = _table(
    "opt_run_feature_macros",
    _key("id"),
    _reference("run_id", "opt_runs.run_id", unique=True),
    _text("macro_combination", 1000),
    _text("macro_format", 20, server_default="adx"),
)

run_metrics = _table(
    "opt_run_metrics",
    _key("id"),
    _reference("run_id", "opt_runs.run_id"),
    _text("metric_key", 100),
    Column("metric_value", Double),
    _text("metric_section", 100),
    sa.UniqueConstraint("run_id", "metric_section", "metric_key"),
)

run_outputs = _table(
    "opt_run_outputs",
    _key("id"),
    _reference("run_id", "opt_runs.run_id"),
    _text("output_type", 50),
    _text("s3_bucket", 63),
    _text("s3_key", 600),
    Column("row_count", BigInteger),
    Column("byte_count", BigInteger),
    Column("sha256", sa.CHAR(64)),
    sa.UniqueConstraint("run_id", "s3_key"),
)

deployments = _table(
    "opt_deployments",
    _key("deployment_id"),
    _text("run_id", 64),
    _reference("entity_id", "opt_entities.entity_id"),
    Column("traffic_pct", SmallInteger, nullable=False),
    _flag("is_active", default="1"),
    _text("deployed_by", 200, server_default=""),
    Column("deployed_at", UtcDateTime, nullable=False, server_default=utc_now()),
    Column("deactivated_at", UtcDateTime),
    # NULL for history: a run stands at most once in the active split, and any number of times in the past.
    Column("active_marker", SmallInteger, sa.Computed("CASE WHEN is_active = 1 THEN 1 END", persisted=False)),
    _text("source", 20, server_default="manual"),
    _text("canary_run_id", 64, nullable=True),
    _flag("is_pinned", default="0"),
    _text("comment", 1000, server_default=""),
    sa.CheckConstraint("traffic_pct BETWEEN 0 AND 100", name="traffic_pct"),
    sa.CheckConstraint("is_active IN (0, 1)", name="is_active"),
    sa.CheckConstraint("source IN ('manual', 'scheduled', 'canary', 'control', 'rollback')", name="source"),
    sa.CheckConstraint("is_pinned IN (0, 1)", name="is_pinned"),
    sa.ForeignKeyConstraint(["entity_id", "run_id"], ["opt_runs.entity_id", "opt_runs.run_id"]),
    sa.UniqueConstraint("entity_id", "run_id", "active_marker"),
    sa.Index(None, "entity_id", "is_active"),
)

canaries = _table(
    "opt_canaries",
    _key("canary_id"),
    *_entity_and_run(),
    _text("canary_plan", 200),
    Column("step", SmallInteger, nullable=False, server_default="1"),
    _text("status", 20, server_default="running"),
    Column("reason", Text),
    _text("changed_by", 200, server_default=""),
    _moment("started_at"),
    _moment("step_started_at"),
    Column("ended_at", UtcDateTime),
    _open_marker("ended_at"),
    sa.CheckConstraint("status IN ('running', 'paused', 'promoted', 'rolled_back', 'aborted')", name="status"),
    sa.UniqueConstraint("entity_id", "open_marker"),
    sa.Index(None, "entity_id", "run_id"),
)

live_daily = _table(
    "opt_live_daily",
    _key("id"),
    *_entity_and_run(),
    Column("day", Date, nullable=False),
    Column("traffic_pct", Double),
    Column("bids", BigInteger, nullable=False),
    Column("wins", BigInteger, nullable=False),
    Column("clicks", BigInteger, nullable=False),
    *_figures("spend", "view_revenue", "click_revenue", "click_maturity"),
    *_figures("forecast_win_rate", "forecast_cpm", "forecast_ctr", "forecast_margin"),
    _moment("measured_at"),
    sa.UniqueConstraint("entity_id", "run_id", "day"),
    sa.Index(None, "entity_id", "day"),
)

live_verdicts = _table(
    "opt_live_verdicts",
    _key("id"),
    *_entity_and_run(nullable_run=True),
    _text("compared_with", 20),
    _text("control_run_id", 64, nullable=True),
    _text("figure", 20),
    _text("verdict", 20),
    Column("reason", Text),
    Column("first_day", Date),
    Column("last_day", Date),
    Column("days", Integer, nullable=False),
    *_figures("live", "live_low", "live_high", "expected", "control"),
    *_figures("difference", "difference_low", "difference_high"),
    Column("measured_on", Date, nullable=False),
    _moment("measured_at"),
    sa.CheckConstraint("compared_with IN ('forecast', 'control', 'split')", name="compared_with"),
    sa.CheckConstraint("verdict IN ('on target', 'below target', 'inconclusive')", name="verdict"),
    sa.Index(None, "entity_id", "measured_on"),
    sa.Index(None, "entity_id", "run_id"),
)

live_savings = _table(
    "opt_live_savings",
    _key("id"),
    *_entity_and_run(),
    _text("period", 20),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("days", Integer, nullable=False),
    *(Column(f"{side}_{name}", BigInteger) for side in ("policy", "control") for name in ("bids", "wins", "clicks")),
    *_figures(*(f"{side}_{name}" for side in ("policy", "control") for name in ("spend", "revenue"))),
    *_figures("saved", "saved_low", "saved_high", "gained", "gained_low", "gained_high"),
    _moment("measured_at"),
    sa.CheckConstraint("period IN ('yesterday', 'month', 'since_start')", name="period"),
    sa.UniqueConstraint("entity_id", "period"),
    sa.Index(None, "entity_id", "run_id"),
)

alerts = _table(
    "opt_alerts",
    _key("alert_id"),
    _reference("entity_id", "opt_entities.entity_id"),
    _text("kind", 40),
    _text("subject", 100, server_default=""),
    Column("message", Text, nullable=False),
    _moment("opened_at"),
    _moment("last_seen_at"),
    Column("closed_at", UtcDateTime),
    _open_marker("closed_at"),
    sa.UniqueConstraint("entity_id", "kind", "subject", "open_marker"),
)

notifications = _table(
    "opt_notifications",
    _key("notification_id"),
    _reference("alert_id", "opt_alerts.alert_id"),
    _text("event", 20),
    _text("destination", 200),
    Column("attempts", SmallInteger, nullable=False, server_default="1"),
    Column("claimed_at", UtcDateTime),
    Column("sent_at", UtcDateTime),
    sa.CheckConstraint("event IN ('opened', 'closed')", name="event"),
    sa.UniqueConstraint("alert_id", "event", "destination"),
)

bidder_counts = _table(
    "opt_bidder_counts",
    _key("count_id"),
    _reference("entity_id", "opt_entities.entity_id"),
    _text("bidder", 100),
    Column("counted_hour", UtcDateTime, nullable=False),
    _text("run_id", 64),
    _text("outcome", 20),
    Column("impressions", BigInteger, nullable=False),
    _moment("written_at"),
    sa.UniqueConstraint(
        "entity_id",
        "counted_hour",
        "bidder",
        "run_id",
        "outcome",
        name="uq_opt_bidder_counts_hour_bidder_run_id_outcome",
    ),
    sa.Index(None, "counted_hour"),
)

serving_snapshots = _table(
    "opt_serving_snapshots",
    Column("entity_id", Integer, ForeignKey("opt_entities.entity_id"), primary_key=True, autoincrement=False),
    # The last number that was taken.
    Column("sequence", Integer, nullable=False),
    # Of what the snapshot with this number says; NULL until it is known to be written.
    Column("content_hash", sa.CHAR(64)),
    Column("written_at", UtcDateTime),
)

audit = _table(
    "opt_audit",
    _key("audit_id"),
    _moment("occurred_at"),
    _text("actor", 200),
    Column("is_person", Boolean, nullable=False),
    _text("action", 40),
    _reference("entity_id", "opt_entities.entity_id", nullable=True),
    _reference("run_id", "opt_runs.run_id", nullable=True),
    Column("before_value", Json),
    Column("after_value", Json),
    _text("comment", 1000, server_default=""),
    sa.CheckConstraint("is_person IN (0, 1)", name="is_person"),
    sa.Index(None, "entity_id", "occurred_at"),
    sa.Index(None, "run_id"),
)
