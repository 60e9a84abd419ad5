"""How the outside world calls the application."""
