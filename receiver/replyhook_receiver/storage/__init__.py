"""Where videos go: one kind of place a file."""
