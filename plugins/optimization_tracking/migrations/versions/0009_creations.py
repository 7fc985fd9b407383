"""A run knows the Idempotency-Key that made it."""

from optimization_tracking.migrations.statements import run_script

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_script("0009_creations")


def downgrade() -> None:
    run_script("0009_creations.down")
