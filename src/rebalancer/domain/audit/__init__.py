"""The audit trail: what was done to accounts and portfolios, by which account and from where."""
