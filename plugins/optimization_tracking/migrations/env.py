"""Run the migrations on the connection that optimization_tracking.schema hands in."""

from alembic import context

from optimization_tracking.migrations.statements import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
