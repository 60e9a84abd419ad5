"""Brokers, which execute orders."""
