"""The live side as columns: deployments, canaries, the control, daily figures, verdicts, alerts, messages, audit.

Runs get what readiness, dry runs and retention need, the checksum of their manifest, and which task holds them.

Revision ID: 0005
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from optimizer.control_plane.columns import TABLE_OPTIONS, Json, UtcDateTime, utc_now

revision = "0005"
down_revision = "0004"

SOURCES = "'manual', 'scheduled', 'canary', 'control', 'rollback'"


def upgrade() -> None:
    """Add the columns and tables; what the text of deployed_by said of older rows becomes their source."""
    source = sa.Column("source", sa.String(20), nullable=False, server_default="manual")
    _add_checked("opt_deployments", source, f"source IN ({SOURCES})")
    pinned = sa.Column("is_pinned", sa.Boolean, nullable=False, server_default=sa.text("0"))
    _add_checked("opt_deployments", pinned, "is_pinned IN (0, 1)")
    op.add_column("opt_deployments", sa.Column("canary_run_id", sa.String(64)))
    op.add_column("opt_deployments", sa.Column("comment", sa.String(1000), nullable=False, server_default=""))
    _read_sources()
    op.add_column("opt_runs", sa.Column("is_dry_run", sa.Boolean, nullable=False, server_default=sa.text("0")))
    op.add_column("opt_runs", sa.Column("readiness_figures", Json))
    op.add_column("opt_runs", sa.Column("outputs_removed_at", UtcDateTime))
    op.add_column("opt_runs", sa.Column("manifest_sha256", sa.CHAR(64)))
    op.add_column("opt_runs", sa.Column("held_by", sa.String(200)))
    _read_manifest_checksums()
    op.create_index("ix_opt_runs_entity_id_created_at", "opt_runs", ["entity_id", "created_at"])
    with op.batch_alter_table("opt_entities") as batch:
        batch.add_column(sa.Column("control_run_id", sa.String(64)))
        batch.create_foreign_key(
            "fk_opt_entities_entity_id_control_run_id",
            "opt_runs",
            ["entity_id", "control_run_id"],
            ["entity_id", "run_id"],
        )
        batch.create_index("ix_opt_entities_entity_id_control_run_id", ["entity_id", "control_run_id"])
    _create_canaries()
    _create_daily()
    _create_verdicts()
    _create_savings()
    _create_alerts()
    _create_notifications()
    _create_bidder_counts()
    _create_serving_snapshots()
    _create_audit()


def downgrade() -> None:
    """Drop them; deployed_by still says what the system deployed."""
    for name in (
        *("opt_audit", "opt_serving_snapshots", "opt_bidder_counts", "opt_notifications", "opt_alerts"),
        *("opt_live_savings", "opt_live_verdicts", "opt_live_daily", "opt_canaries"),
    ):
        op.drop_table(name)
    with op.batch_alter_table("opt_entities") as batch:
        batch.drop_constraint("fk_opt_entities_entity_id_control_run_id", type_="foreignkey")
        batch.drop_index("ix_opt_entities_entity_id_control_run_id")
        batch.drop_column("control_run_id")
    for name in ("source", "is_pinned"):
        _drop_checked("opt_deployments", name)
    for name in ("canary_run_id", "comment"):
        op.drop_column("opt_deployments", name)
    op.drop_index("ix_opt_runs_entity_id_created_at", "opt_runs")
    for name in ("is_dry_run", "readiness_figures", "outputs_removed_at", "manifest_sha256", "held_by"):
        op.drop_column("opt_runs", name)


def _add_checked(table: str, column: sa.Column[Any], check: str) -> None:
    """Add a column with a check. SQLite takes both in one statement only; a copy would fail on the computed column."""
    name = f"ck_{table}_{column.name}"
    if op.get_bind().dialect.name == "sqlite":
        sa.Table(table, sa.MetaData(), column)
        spec = sa.schema.CreateColumn(column).compile(dialect=op.get_bind().dialect)
        op.execute(f"ALTER TABLE {table} ADD COLUMN {spec} CONSTRAINT {name} CHECK ({check})")
    else:
        op.add_column(table, column)
        op.create_check_constraint(op.f(name), table, check)


def _drop_checked(table: str, column: str) -> None:
    if op.get_bind().dialect.name != "sqlite":  # there the check goes with its column
        op.drop_constraint(op.f(f"ck_{table}_{column}"), table, type_="check")
    op.drop_column(table, column)


def _read_sources() -> None:
    """Until now the text of deployed_by was all that said who deployed."""
    op.execute(
        "UPDATE opt_deployments SET source = 'canary', canary_run_id = SUBSTR(deployed_by, 16) "
        "WHERE deployed_by LIKE 'airflow:canary %'"
    )
    op.execute("UPDATE opt_deployments SET source = 'rollback' WHERE deployed_by = 'airflow:monitor auto_rollback'")
    op.execute(
        "UPDATE opt_deployments SET source = 'scheduled' WHERE deployed_by LIKE 'airflow:%' AND source = 'manual'"
    )


def _read_manifest_checksums() -> None:
    """Until now they were only in the rows of objects, which the bidder may not read."""
    op.execute(
        "UPDATE opt_runs SET manifest_sha256 = (SELECT MAX(o.sha256) FROM opt_run_outputs o "
        "WHERE o.run_id = opt_runs.run_id AND o.output_type = 'manifest')"
    )


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=True)


def _entity_and_run() -> tuple[sa.Column[int], sa.Column[str], sa.ForeignKeyConstraint]:
    return (
        sa.Column("entity_id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["entity_id", "run_id"], ["opt_runs.entity_id", "opt_runs.run_id"]),
    )


def _figures(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double) for name in names]


def _create_canaries() -> None:
    op.create_table(
        "opt_canaries",
        _key("canary_id"),
        *_entity_and_run(),
        sa.Column("canary_plan", sa.String(200), nullable=False),
        sa.Column("step", sa.SmallInteger, nullable=False, server_default="1"),
        sa.Column("status", sa.String(20), nullable=False, server_default="running"),
        sa.Column("reason", sa.Text),
        sa.Column("changed_by", sa.String(200), nullable=False, server_default=""),
        sa.Column("started_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("step_started_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("ended_at", UtcDateTime),
        sa.Column(
            "open_marker", sa.SmallInteger, sa.Computed("CASE WHEN ended_at IS NULL THEN 1 END", persisted=False)
        ),
        sa.CheckConstraint("status IN ('running', 'paused', 'promoted', 'rolled_back', 'aborted')", name="status"),
        sa.UniqueConstraint("entity_id", "open_marker"),
        sa.Index(None, "entity_id", "run_id"),
        **TABLE_OPTIONS,
    )


def _create_daily() -> None:
    op.create_table(
        "opt_live_daily",
        _key("id"),
        *_entity_and_run(),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("traffic_pct", sa.Double),
        sa.Column("bids", sa.BigInteger, nullable=False),
        sa.Column("wins", sa.BigInteger, nullable=False),
        sa.Column("clicks", sa.BigInteger, nullable=False),
        *_figures("spend", "view_revenue", "click_revenue", "click_maturity"),
        *_figures("forecast_win_rate", "forecast_cpm", "forecast_ctr", "forecast_margin"),
        sa.Column("measured_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.UniqueConstraint("entity_id", "run_id", "day"),
        sa.Index(None, "entity_id", "day"),
        **TABLE_OPTIONS,
    )


def _create_verdicts() -> None:
    op.create_table(
        "opt_live_verdicts",
        _key("id"),
        sa.Column("entity_id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("compared_with", sa.String(20), nullable=False),
        sa.Column("control_run_id", sa.String(64)),
        sa.Column("figure", sa.String(20), nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("first_day", sa.Date),
        sa.Column("last_day", sa.Date),
        sa.Column("days", sa.Integer, nullable=False),
        *_figures("live", "live_low", "live_high", "expected", "control"),
        *_figures("difference", "difference_low", "difference_high"),
        sa.Column("measured_on", sa.Date, nullable=False),
        sa.Column("measured_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.CheckConstraint("compared_with IN ('forecast', 'control', 'split')", name="compared_with"),
        sa.CheckConstraint("verdict IN ('on target', 'below target', 'inconclusive')", name="verdict"),
        sa.ForeignKeyConstraint(["entity_id", "run_id"], ["opt_runs.entity_id", "opt_runs.run_id"]),
        sa.Index(None, "entity_id", "measured_on"),
        sa.Index(None, "entity_id", "run_id"),
        **TABLE_OPTIONS,
    )


def _create_savings() -> None:
    op.create_table(
        "opt_live_savings",
        _key("id"),
        *_entity_and_run(),
        sa.Column("period", sa.String(20), nullable=False),
        sa.Column("first_day", sa.Date, nullable=False),
        sa.Column("last_day", sa.Date, nullable=False),
        sa.Column("days", sa.Integer, nullable=False),
        *[
            sa.Column(f"{side}_{name}", sa.BigInteger)
            for side in ("policy", "control")
            for name in ("bids", "wins", "clicks")
        ],
        *_figures(*(f"{side}_{name}" for side in ("policy", "control") for name in ("spend", "revenue"))),
        *_figures("saved", "saved_low", "saved_high", "gained", "gained_low", "gained_high"),
        sa.Column("measured_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.CheckConstraint("period IN ('yesterday', 'month', 'since_start')", name="period"),
        sa.UniqueConstraint("entity_id", "period"),
        sa.Index(None, "entity_id", "run_id"),
        **TABLE_OPTIONS,
    )


def _create_alerts() -> None:
    op.create_table(
        "opt_alerts",
        _key("alert_id"),
        sa.Column("entity_id", sa.Integer, sa.ForeignKey("opt_entities.entity_id"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(100), nullable=False, server_default=""),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("last_seen_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("closed_at", UtcDateTime),
        sa.Column(
            "open_marker", sa.SmallInteger, sa.Computed("CASE WHEN closed_at IS NULL THEN 1 END", persisted=False)
        ),
        sa.UniqueConstraint("entity_id", "kind", "subject", "open_marker"),
        **TABLE_OPTIONS,
    )


def _create_notifications() -> None:
    op.create_table(
        "opt_notifications",
        _key("notification_id"),
        sa.Column("alert_id", sa.Integer, sa.ForeignKey("opt_alerts.alert_id"), nullable=False),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("destination", sa.String(200), nullable=False),
        sa.Column("attempts", sa.SmallInteger, nullable=False, server_default="1"),
        sa.Column("claimed_at", UtcDateTime),
        sa.Column("sent_at", UtcDateTime),
        sa.CheckConstraint("event IN ('opened', 'closed')", name="event"),
        sa.UniqueConstraint("alert_id", "event", "destination"),
        **TABLE_OPTIONS,
    )


def _create_bidder_counts() -> None:
    op.create_table(
        "opt_bidder_counts",
        _key("count_id"),
        sa.Column("entity_id", sa.Integer, sa.ForeignKey("opt_entities.entity_id"), nullable=False),
        sa.Column("bidder", sa.String(100), nullable=False),
        sa.Column("counted_hour", UtcDateTime, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("impressions", sa.BigInteger, nullable=False),
        sa.Column("written_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.UniqueConstraint(
            "entity_id",
            "counted_hour",
            "bidder",
            "run_id",
            "outcome",
            name="uq_opt_bidder_counts_hour_bidder_run_id_outcome",
        ),
        sa.Index(None, "counted_hour"),
        **TABLE_OPTIONS,
    )


def _create_serving_snapshots() -> None:
    op.create_table(
        "opt_serving_snapshots",
        sa.Column(
            "entity_id", sa.Integer, sa.ForeignKey("opt_entities.entity_id"), primary_key=True, autoincrement=False
        ),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.CHAR(64)),
        sa.Column("written_at", UtcDateTime),
        **TABLE_OPTIONS,
    )


def _create_audit() -> None:
    op.create_table(
        "opt_audit",
        _key("audit_id"),
        sa.Column("occurred_at", UtcDateTime, nullable=False, server_default=utc_now()),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("is_person", sa.Boolean, nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("entity_id", sa.Integer, sa.ForeignKey("opt_entities.entity_id")),
        sa.Column("run_id", sa.String(64), sa.ForeignKey("opt_runs.run_id")),
        sa.Column("before_value", Json),
        sa.Column("after_value", Json),
        sa.Column("comment", sa.String(1000), nullable=False, server_default=""),
        sa.CheckConstraint("is_person IN (0, 1)", name="is_person"),
        sa.Index(None, "entity_id", "occurred_at"),
        sa.Index(None, "run_id"),
        **TABLE_OPTIONS,
    )
