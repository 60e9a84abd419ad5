"""Replaceable parts behind the ports, one folder a technology."""
