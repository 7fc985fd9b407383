"""What can be optimized: optimizers, versions and their config keys, entities and their values, feature macros.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

from optimizer.control_plane.columns import TABLE_OPTIONS, Json, UtcDateTime, utc_now, utc_touched

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the six tables that a person fills."""
    _create_optimizers()
    _create_versions()
    _create_entities()
    _create_feature_macros()


def downgrade() -> None:
    """Drop them, those that refer to others first."""
    for table in ("feature_macros", "entity_configs", "entities", "version_configs", "versions", "master"):
        op.drop_table(f"opt_{table}")


def _create_optimizers() -> None:
    op.create_table(
        "opt_master",
        sa.Column("opt_id", sa.Integer, primary_key=True),
        sa.Column("opt_code", sa.String(50), nullable=False, unique=True),
        sa.Column("opt_name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("status", sa.CHAR(1), nullable=False, server_default="A"),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.CheckConstraint("status IN ('A', 'I')", name="status"),
        **TABLE_OPTIONS,
    )


def _create_versions() -> None:
    op.create_table(
        "opt_versions",
        sa.Column("version_id", sa.Integer, primary_key=True),
        sa.Column("opt_id", sa.Integer, sa.ForeignKey("opt_master.opt_id"), nullable=False),
        sa.Column("version_code", sa.String(50), nullable=False),
        sa.Column("version_name", sa.String(200), nullable=False),
        sa.Column("release_date", sa.Date),
        sa.Column("supported_configs", Json),
        sa.Column("description", sa.Text),
        sa.Column("status", sa.CHAR(1), nullable=False, server_default="A"),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.CheckConstraint("status IN ('A', 'I')", name="status"),
        sa.UniqueConstraint("opt_id", "version_code"),
        **TABLE_OPTIONS,
    )
    op.create_table(
        "opt_version_configs",
        sa.Column("config_id", sa.Integer, primary_key=True),
        sa.Column("version_id", sa.Integer, sa.ForeignKey("opt_versions.version_id"), nullable=False),
        sa.Column("config_key", sa.String(100), nullable=False),
        sa.Column("config_section", sa.String(50), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("data_type", sa.String(20), nullable=False),
        sa.Column("default_value", sa.String(1000)),
        sa.Column("min_value", sa.String(100)),
        sa.Column("max_value", sa.String(100)),
        sa.Column("allowed_values", Json),
        sa.Column("is_required", sa.Boolean, nullable=False, server_default=sa.text("1")),
        sa.Column("is_ui_visible", sa.Boolean, nullable=False, server_default=sa.text("1")),
        sa.UniqueConstraint("version_id", "config_key"),
        **TABLE_OPTIONS,
    )


def _create_entities() -> None:
    op.create_table(
        "opt_entities",
        sa.Column("entity_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("opt_id", sa.Integer, sa.ForeignKey("opt_master.opt_id"), nullable=False),
        sa.Column("entity_code", sa.String(100), nullable=False, unique=True),
        sa.Column("entity_name", sa.String(200), nullable=False),
        sa.Column("object_id", sa.Integer, nullable=False),
        sa.Column("object_type", sa.String(50), nullable=False, server_default="ssp"),
        sa.Column("current_version_id", sa.Integer, sa.ForeignKey("opt_versions.version_id")),
        sa.Column("active_run_id", sa.String(64)),
        sa.Column("s3_base_path", sa.String(500), nullable=False),
        sa.Column("status", sa.CHAR(1), nullable=False, server_default="A"),
        sa.Column("created_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.CheckConstraint("status IN ('A', 'I')", name="status"),
        sa.Index(None, "opt_id"),
        sa.Index(None, "current_version_id"),
        **TABLE_OPTIONS,
    )
    op.create_table(
        "opt_entity_configs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("entity_id", sa.Integer, sa.ForeignKey("opt_entities.entity_id"), nullable=False),
        sa.Column("config_key", sa.String(100), nullable=False),
        sa.Column("config_value", sa.String(1000), nullable=False),
        sa.Column("updated_by", sa.String(200), nullable=False, server_default=""),
        sa.Column("updated_at", UtcDateTime, nullable=False, server_default=utc_touched()),
        sa.UniqueConstraint("entity_id", "config_key"),
        **TABLE_OPTIONS,
    )


def _create_feature_macros() -> None:
    op.create_table(
        "opt_feature_macros",
        sa.Column("macro_id", sa.Integer, primary_key=True),
        sa.Column("opt_id", sa.Integer, sa.ForeignKey("opt_master.opt_id"), nullable=False),
        sa.Column("feature_name", sa.String(100), nullable=False),
        sa.Column("macro_template", sa.String(200), nullable=False),
        sa.Column("macro_format", sa.String(20), nullable=False, server_default="adx"),
        sa.Column("status", sa.CHAR(1), nullable=False, server_default="A"),
        sa.CheckConstraint("status IN ('A', 'I')", name="status"),
        sa.UniqueConstraint("opt_id", "feature_name", "macro_format"),
        **TABLE_OPTIONS,
    )
