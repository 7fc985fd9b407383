"""Helper functions and analytics."""

from optimization_tracking.migrations.statements import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_script("0005_functions")


def downgrade() -> None:
    run_script("0005_functions.down")
