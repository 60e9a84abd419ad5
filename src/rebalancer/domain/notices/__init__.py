"""Notices about portfolios to their owners: what happened, and where and when they are sent."""
