"""Checks of the real providers, for those who have a network and keys."""
