"""Stores in a SQL database, SQLite or Postgres."""
