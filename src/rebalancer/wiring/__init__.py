"""Composition root: connect adapters to ports. No other package imports adapters."""
