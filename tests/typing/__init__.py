"""Programs for the type checker."""
