"""The receiver, part by part."""
