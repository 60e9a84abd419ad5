"""Who carries out orders."""
