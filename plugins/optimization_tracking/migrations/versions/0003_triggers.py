"""What a run knows of its iterations."""

from optimization_tracking.migrations.statements import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_script("0003_triggers")


def downgrade() -> None:
    run_script("0003_triggers.down")
