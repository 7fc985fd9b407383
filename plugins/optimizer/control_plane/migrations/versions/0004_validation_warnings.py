"""How many checks of a run warned.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the number of warnings; it stays NULL on runs that were validated before."""
    op.add_column("opt_runs", sa.Column("validation_warnings", sa.Integer))


def downgrade() -> None:
    """Drop the number of warnings."""
    op.drop_column("opt_runs", "validation_warnings")
