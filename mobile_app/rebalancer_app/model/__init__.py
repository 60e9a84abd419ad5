"""What the screens show, as plain Python without any control."""
