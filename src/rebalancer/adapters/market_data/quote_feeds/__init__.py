"""Feeds of live quotes."""
