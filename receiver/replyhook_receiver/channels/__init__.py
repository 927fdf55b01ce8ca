"""How notifications are brought: one channel a file."""
