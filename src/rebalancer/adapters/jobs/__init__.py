"""Who does jobs."""
