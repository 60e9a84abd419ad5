"""Notices about portfolios to their owners: what happened, and where and when it is said."""
