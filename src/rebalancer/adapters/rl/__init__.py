"""Training of policies and market regimes; serving them needs numpy alone."""
