"""Market data and reports in MongoDB."""
