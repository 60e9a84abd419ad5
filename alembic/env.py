"""How alembic reaches the database: over the connection that it is given, or the URL of the ini."""

from alembic import context
from sqlalchemy import Connection

from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.migrations import migrating
from rebalancer.adapters.sql.tables import metadata


def migrate(connection: Connection) -> None:
    """Run whatever was asked for."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        render_as_batch=True,  # SQLite changes a table by making another in its place
        user_module_prefix="",
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    engine = connect(context.config.get_main_option("sqlalchemy.url", ""))
    with migrating(engine) as connection:
        migrate(connection)
    engine.dispose()
