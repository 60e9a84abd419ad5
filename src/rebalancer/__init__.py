"""What to trade now, what it costs, why, and why not."""
