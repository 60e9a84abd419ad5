"""What should be held."""
