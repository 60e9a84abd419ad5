"""Round trades to orders of whole steps: the second stage of rebalancing."""
