"""Commands of the `rebalancer` command line.

A module here is a command: `rebalancer NAME` loads the module ``NAME`` and runs its ``NAME``, a
click command or group. Nothing else needs to be registered.
"""
