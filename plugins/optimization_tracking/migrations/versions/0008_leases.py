"""Processes hold a lease of the run that they log; a clock that was set back costs nothing; a run names its
metric; writes cost less."""

from optimization_tracking.migrations.statements import run_script

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_script("0008_leases")
    run_script("0008_clocks")
    run_script("0008_metrics")
    run_script("0008_writes")


def downgrade() -> None:
    run_script("0008_writes.down")
    run_script("0008_metrics.down")
    run_script("0008_clocks.down")
    run_script("0008_leases.down")
