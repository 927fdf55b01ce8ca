"""Contracts: what every implementation of something pluggable must do, as inherited tests."""
