"""The pure domain: no technology, no clock, no randomness of its own."""
