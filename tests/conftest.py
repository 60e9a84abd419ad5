"""Hypothesis for all: the same examples on every machine, and no clock."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("rebalancer", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("rebalancer")
