"""A cluster of one node on this machine, and what is applied to it."""
