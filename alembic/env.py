"""Connect alembic to the database: by the given connection, or by the URL of the ini file."""

from alembic import context
from sqlalchemy import Connection

from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.migrations import migrating
from rebalancer.adapters.sql.tables import metadata


def migrate(connection: Connection) -> None:
    """Run the requested migrations."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        render_as_batch=True,  # SQLite changes a table by replacing it with a copy
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
