"""The stores: each is its contract and what is peculiar to it."""
