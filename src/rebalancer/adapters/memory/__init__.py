"""Adapters in memory, for tests and single processes; the contract suites test them too."""
