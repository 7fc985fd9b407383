"""The indexes by which runs are listed, ranked and searched."""

from optimization_tracking.migrations.statements import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_script("0002_indexes")


def downgrade() -> None:
    run_script("0002_indexes.down")
