"""Reports that a person looks at."""
