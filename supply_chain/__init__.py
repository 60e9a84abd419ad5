"""Tools for what the project depends on: lock file, list of components, audit."""
