"""`python -m rebalancer.entrypoints.cli` is `rebalancer`."""

from rebalancer.entrypoints.cli.main import main

main()
