"""The `rebalancer` command, one file a command group."""
