"""Processes of a Ray cluster."""
