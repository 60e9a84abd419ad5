"""Lots: what each unit of a holding cost, and what its sale gains, by the usual methods."""
