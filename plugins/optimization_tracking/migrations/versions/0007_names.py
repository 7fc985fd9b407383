"""A part of a name is found in the index of names; metadata are merged; a session that was ended is over."""

from optimization_tracking.migrations.statements import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_script("0007_names")
    run_script("0007_merging")
    run_script("0007_sessions")


def downgrade() -> None:
    run_script("0007_sessions.down")
    run_script("0007_merging.down")
    run_script("0007_names.down")
