"""Webhooks and push services of owners."""
