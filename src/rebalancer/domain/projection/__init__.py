"""Projections: what a portfolio may be worth in years, with its flows, costs and policy."""
