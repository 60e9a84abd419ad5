"""State that processes share through Redis or Valkey; every process works without it."""
