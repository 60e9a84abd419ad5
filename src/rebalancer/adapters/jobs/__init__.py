"""Runners and workers of jobs."""
