"""From what should be held to orders."""
