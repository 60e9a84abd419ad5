"""Records as files of JSON lines."""
