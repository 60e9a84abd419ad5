"""Policies: decide which weights a portfolio should have."""
