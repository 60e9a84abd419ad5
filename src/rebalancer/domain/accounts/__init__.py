"""Accounts: how a person proves who he or she is."""
