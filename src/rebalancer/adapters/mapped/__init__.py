"""Memory-mapped files."""
