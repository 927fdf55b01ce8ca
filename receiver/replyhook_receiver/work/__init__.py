"""What happens after a callback is kept: one kind of task a file; they act or raise, and never loop or sleep."""
