"""What is held, by whom, within which limits."""
