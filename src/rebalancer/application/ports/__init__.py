"""Protocols of the outside world; one contract suite per port tests every adapter."""
