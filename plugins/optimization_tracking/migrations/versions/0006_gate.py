"""Who may ask which projects there are."""

from optimization_tracking.migrations.statements import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_script("0006_gate")


def downgrade() -> None:
    run_script("0006_gate.down")
