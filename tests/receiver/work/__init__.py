"""What happens after a callback is kept."""
