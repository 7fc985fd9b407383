"""Which runs the bidder serves, and which it served before.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

from optimizer.control_plane.columns import TABLE_OPTIONS, UtcDateTime, utc_now

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the deployments; active_marker lets a run stand once in the active split and often in the history."""
    op.create_table(
        "opt_deployments",
        sa.Column("deployment_id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("entity_id", sa.Integer, sa.ForeignKey("opt_entities.entity_id"), nullable=False),
        sa.Column("traffic_pct", sa.SmallInteger, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.text("1")),
        sa.Column("deployed_by", sa.String(200), nullable=False, server_default=""),
        sa.Column("deployed_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("deactivated_at", UtcDateTime),
        sa.Column("active_marker", sa.SmallInteger, sa.Computed("CASE WHEN is_active = 1 THEN 1 END", persisted=False)),
        sa.CheckConstraint("traffic_pct BETWEEN 0 AND 100", name="traffic_pct"),
        sa.CheckConstraint("is_active IN (0, 1)", name="is_active"),
        sa.ForeignKeyConstraint(["entity_id", "run_id"], ["opt_runs.entity_id", "opt_runs.run_id"]),
        sa.UniqueConstraint("entity_id", "run_id", "active_marker"),
        sa.Index(None, "entity_id", "is_active"),
        **TABLE_OPTIONS,
    )


def downgrade() -> None:
    """Drop the deployments."""
    op.drop_table("opt_deployments")
