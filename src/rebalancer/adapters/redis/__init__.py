"""What processes share through a Redis or Valkey server, and can do without for a while."""
