"""Alerts about portfolios, and the rules of automatic proposals."""
