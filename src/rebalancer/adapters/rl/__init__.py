"""Learning: market regimes and policies, fitted with libraries and used without them."""
