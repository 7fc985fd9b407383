"""Runs are created, and iterations and samples added, by one call each; names are folded without a plan."""

from optimization_tracking.migrations.statements import run_script

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_script("0010_calls")


def downgrade() -> None:
    run_script("0010_calls.down")
