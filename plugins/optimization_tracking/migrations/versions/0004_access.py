"""Roles, row-level security, API keys."""

from optimization_tracking.migrations.statements import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_script("0004_access")


def downgrade() -> None:
    run_script("0004_access.down")
