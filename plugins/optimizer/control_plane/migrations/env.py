"""Run the migrations on the connection that optimizer.control_plane.schema hands in."""

from alembic import context

from optimizer.control_plane.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
