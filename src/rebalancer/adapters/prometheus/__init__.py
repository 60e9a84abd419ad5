"""Metrics for Prometheus, shared by the processes of a server."""
