"""Simulation of policies on historical prices, performance figures and evidence."""
