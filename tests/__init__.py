"""The tests: one folder a part, contracts for everything pluggable, recorded callbacks with their origin."""
