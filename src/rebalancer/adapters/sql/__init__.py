"""Everything that is kept, in SQLite."""
