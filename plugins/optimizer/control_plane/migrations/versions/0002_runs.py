"""The runs of the entities: what was set for each, and what it left.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

from optimizer.control_plane.columns import (
    RUN_CODE_TRIGGER,
    TABLE_OPTIONS,
    Json,
    Price,
    UtcDateTime,
    same_as_run_id,
    utc_now,
)

revision = "0002"
down_revision = "0001"

_ACTIVE_RUN = "fk_opt_entities_entity_id_active_run_id"
_ACTIVE_RUN_INDEX = "ix_opt_entities_entity_id_active_run_id"


def upgrade() -> None:
    """Create the runs and what hangs on them, then let an entity point at its active run."""
    _create_runs()
    _create_run_configs()
    _create_run_features()
    _create_run_metrics()
    _create_run_outputs()
    with op.batch_alter_table("opt_entities") as entities:
        entities.create_index(_ACTIVE_RUN_INDEX, ["entity_id", "active_run_id"])
        entities.create_foreign_key(_ACTIVE_RUN, "opt_runs", ["entity_id", "active_run_id"], ["entity_id", "run_id"])


def downgrade() -> None:
    """Drop them; the entities forget their active runs."""
    with op.batch_alter_table("opt_entities") as entities:
        entities.drop_constraint(_ACTIVE_RUN, type_="foreignkey")
        entities.drop_index(_ACTIVE_RUN_INDEX)
    op.execute("UPDATE opt_entities SET active_run_id = NULL")
    for table in ("run_outputs", "run_metrics", "run_feature_macros", "run_features", "run_configs", "runs"):
        op.drop_table(f"opt_{table}")


def _create_runs() -> None:
    op.create_table(
        "opt_runs",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("run_code", sa.String(64), nullable=False, server_default=same_as_run_id()),
        sa.Column("entity_id", sa.Integer, sa.ForeignKey("opt_entities.entity_id"), nullable=False),
        sa.Column("version_id", sa.Integer, sa.ForeignKey("opt_versions.version_id"), nullable=False),
        sa.Column("dag_id", sa.String(250)),
        sa.Column("dag_run_id", sa.String(250)),
        sa.Column("status", sa.String(20), nullable=False, server_default="pending"),
        sa.Column("triggered_by", sa.String(200), nullable=False, server_default=""),
        sa.Column("trigger_type", sa.String(50), nullable=False, server_default="manual"),
        sa.Column("data_start_dt", UtcDateTime),
        sa.Column("data_end_dt", UtcDateTime),
        sa.Column("config_snapshot", Json),
        sa.Column("total_bids", sa.BigInteger),
        sa.Column("total_views", sa.BigInteger),
        sa.Column("total_clicks", sa.BigInteger),
        sa.Column("total_segments", sa.BigInteger),
        sa.Column("segments_count", sa.BigInteger),
        sa.Column("segments_in_memcache", sa.BigInteger),
        sa.Column("domains_count", sa.BigInteger),
        sa.Column("npis_count", sa.BigInteger),
        sa.Column("features_used", sa.Text),
        sa.Column("bid_median", Price),
        sa.Column("bid_min", Price),
        sa.Column("bid_max", Price),
        sa.Column("s3_output_path", sa.String(700)),
        sa.Column("validation_status", sa.String(20)),
        sa.Column("error_message", sa.Text),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("started_at", UtcDateTime),
        sa.Column("heartbeat_at", UtcDateTime),
        sa.Column("completed_at", UtcDateTime),
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
        **TABLE_OPTIONS,
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute(RUN_CODE_TRIGGER)


def _create_run_configs() -> None:
    op.create_table(
        "opt_run_configs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), sa.ForeignKey("opt_runs.run_id"), nullable=False),
        sa.Column("config_key", sa.String(100), nullable=False),
        sa.Column("config_value", sa.String(1000), nullable=False),
        sa.Column("config_section", sa.String(50)),
        sa.UniqueConstraint("run_id", "config_key"),
        **TABLE_OPTIONS,
    )


def _create_run_features() -> None:
    op.create_table(
        "opt_run_features",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), sa.ForeignKey("opt_runs.run_id"), nullable=False),
        sa.Column("feature_name", sa.String(100), nullable=False),
        sa.Column("feature_order", sa.SmallInteger, nullable=False),
        sa.Column("is_anchor", sa.Boolean, nullable=False, server_default=sa.text("0")),
        sa.Column("signal_score", sa.Double),
        sa.Column("macro_id", sa.Integer, sa.ForeignKey("opt_feature_macros.macro_id")),
        sa.UniqueConstraint("run_id", "feature_name"),
        sa.UniqueConstraint("run_id", "feature_order"),
        sa.Index(None, "macro_id"),
        **TABLE_OPTIONS,
    )
    op.create_table(
        "opt_run_feature_macros",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), sa.ForeignKey("opt_runs.run_id"), nullable=False, unique=True),
        sa.Column("macro_combination", sa.String(1000), nullable=False),
        sa.Column("macro_format", sa.String(20), nullable=False, server_default="adx"),
        **TABLE_OPTIONS,
    )


def _create_run_metrics() -> None:
    op.create_table(
        "opt_run_metrics",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), sa.ForeignKey("opt_runs.run_id"), nullable=False),
        sa.Column("metric_key", sa.String(100), nullable=False),
        sa.Column("metric_value", sa.Double),
        sa.Column("metric_section", sa.String(100), nullable=False),
        sa.UniqueConstraint("run_id", "metric_section", "metric_key"),
        **TABLE_OPTIONS,
    )


def _create_run_outputs() -> None:
    op.create_table(
        "opt_run_outputs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), sa.ForeignKey("opt_runs.run_id"), nullable=False),
        sa.Column("output_type", sa.String(50), nullable=False),
        sa.Column("s3_bucket", sa.String(63), nullable=False),
        sa.Column("s3_key", sa.String(600), nullable=False),
        sa.Column("row_count", sa.BigInteger),
        sa.Column("byte_count", sa.BigInteger),
        sa.Column("sha256", sa.CHAR(64)),
        sa.UniqueConstraint("run_id", "s3_key"),
        **TABLE_OPTIONS,
    )
