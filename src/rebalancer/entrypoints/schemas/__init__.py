"""Schemas of the JSON that HTTP and the command line read and write."""
