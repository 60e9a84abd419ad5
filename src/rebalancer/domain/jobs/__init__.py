"""Background jobs and batch runs, with their states."""
