"""A part of a name is found in the index of names; metadata are merged; ended sessions are over; long runs cost their
readers no more than short ones; deletions do not wait for their rows; writes have an audit row."""

from optimization_tracking.migrations.statements import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_script("0007_names")
    run_script("0007_merging")
    run_script("0007_sessions")
    run_script("0007_sizes")
    run_script("0007_counts")
    run_script("0007_deletion")
    run_script("0007_accounts")


def downgrade() -> None:
    run_script("0007_accounts.down")
    run_script("0007_deletion.down")
    run_script("0007_counts.down")
    run_script("0007_sizes.down")
    run_script("0007_sessions.down")
    run_script("0007_merging.down")
    run_script("0007_names.down")
