"""Where prices and instruments come from."""
