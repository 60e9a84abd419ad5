"""Prices, instruments, indicators and market regimes."""
