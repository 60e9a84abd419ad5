"""What the application asks of the outside world.

Adapters keep these promises; one contract suite a port holds every adapter to them.
"""
