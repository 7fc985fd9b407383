"""Projects, runs, iterations and samples."""

from optimization_tracking.migrations.statements import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script("0001_tables")


def downgrade() -> None:
    run_script("0001_tables.down")
