"""Readers of statements, one module for each layout or family of layouts.

A module that defines ``READERS``, a tuple of `StatementReader`, is found by itself. Modules without
it hold what readers share.
"""
