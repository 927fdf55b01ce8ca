"""Examining a receiver where it runs: each check says what was looked at, how it is, and what to do."""
