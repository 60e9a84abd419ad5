"""Providers of prices and instruments."""
