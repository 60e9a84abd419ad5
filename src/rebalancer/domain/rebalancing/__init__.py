"""Rebalancing: turn a decision into orders, costs and reasons."""
