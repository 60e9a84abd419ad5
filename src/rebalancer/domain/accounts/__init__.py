"""Accounts: roles, proofs of identity, sessions and shared portfolios."""
