"""Images, servers and checks of a deployment."""
