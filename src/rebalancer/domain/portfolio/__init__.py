"""Portfolios, their owners, ledgers, risk profiles and costs."""
